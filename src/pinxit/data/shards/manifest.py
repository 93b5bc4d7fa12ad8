"""`_shards.json`: what a folder of shards was made from, and each shard with its checksum."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pinxit.data.atomic_write import write_atomically
from pinxit.data.shards.shard_set import Shard, is_safe_name
from pinxit.data.shards.split_counts import Label, SetCounts, ShardCount, SplitCounts
from pinxit.data.typed_json import convert_json, read_json
from pinxit.errors import PinxitError, UsageError

MANIFEST = "_shards.json"
LOCK = ".lock"  # held by the process that writes a folder of shards
FORMAT = 2


@dataclass(frozen=True)
class ShardInfo:
    """A shard that is complete."""

    name: str
    samples: int
    bytes: int
    crc32: str  # of the whole file, 8 hex digits
    splits: SplitCounts  # numbers of images by split


@dataclass(frozen=True)
class Manifest:
    """The shards of a folder."""

    source: str  # as the user typed it
    key: str  # of the content of the source
    per_shard: int
    records: int  # of the source, readable or not
    finished: bool = False
    shards: tuple[ShardInfo, ...] = ()
    skipped: dict[str, str] = field(default_factory=dict)  # images that cannot be read, and why
    labels: tuple[Label, ...] = ()  # of all images
    captions: tuple[str, ...] = ()  # languages that images have captions in
    keywords: tuple[str, ...] = ()  # likewise
    notes: tuple[str, ...] = ()  # on the source, and on what of it the shards do not hold
    has_groups: bool | None = None  # None in lists of versions that did not look
    format: int = FORMAT

    @property
    def samples(self) -> int:
        """Number of images in all shards."""
        return sum(shard.samples for shard in self.shards)

    @property
    def not_readable(self) -> int:
        """Number of images of the source that are in no shard, once all are written."""
        return self.records - self.samples

    @property
    def bytes(self) -> int:
        """Size of all shards."""
        return sum(shard.bytes for shard in self.shards)

    def has_origin_of(self, other: Manifest) -> bool:
        """Return whether both are of one source, divided in the same way."""
        return (self.key, self.per_shard, self.records) == (
            other.key,
            other.per_shard,
            other.records,
        )

    def add(self, count: ShardCount) -> Manifest:
        """Return the manifest with the labels and languages of a further shard."""
        return dataclasses.replace(
            self,
            labels=tuple(sorted({*self.labels, *count.labels}, key=repr)),
            captions=tuple(sorted({*self.captions, *count.captions})),
            keywords=tuple(sorted({*self.keywords, *count.keywords})),
            has_groups=None if self.has_groups is None else self.has_groups or bool(count.groups),
        )

    def counts_of(self, shards: Sequence[Shard]) -> SetCounts | None:
        """Return what the shards hold; None if they are others, or not as they were written.

        Also None if there are groups, or if an earlier version wrote the list: its numbers of
        training images do not say how many of them a hash holds out.
        """
        is_complete = self.finished and self.has_groups is False
        if any(info.splits.given.get("train") for info in self.shards):
            return None
        known = {info.name: info for info in self.shards}
        found = [known.get(shard.name) for shard in shards]
        if not is_complete or any(
            info is None or shard.size not in (None, info.bytes)
            for info, shard in zip(found, shards, strict=True)
        ):
            return None
        by_shard = tuple({"": info.splits} for info in found if info is not None)
        return SetCounts(by_shard, self.labels, self.captions, self.keywords)

    def write(self, folder: Path) -> None:
        """Write the file atomically."""
        text = json.dumps(dataclasses.asdict(self), indent=1)
        write_atomically(folder / MANIFEST, text + "\n")


def check_complete(manifest: Manifest, names: Collection[str], folder: str) -> None:
    """Raise PinxitError if a folder does not have all shards that were to be written there."""
    missing = [info.name for info in manifest.shards if info.name not in names]
    if manifest.finished and not missing:
        return
    lacks = f"{missing[0]} is not there" if missing else "its writing was not finished"
    raise PinxitError(
        f"{folder} has not all of its shards: {lacks}.\n"
        f"Give the command that writes it again, or take it as it is: '{folder}/*.tar'."
    )


def read_manifest(folder: Path) -> Manifest | None:
    """Return what is in a folder of shards, or None if it has no manifest.

    Raises PinxitError for a damaged manifest, and for one of another format.
    """
    file = folder / MANIFEST
    return parse_manifest(read_json(file), str(file)) if file.exists() else None


def parse_manifest(record: Any, where: str) -> Manifest:
    """Return a manifest from JSON; `where` names it in errors.

    Raises PinxitError for a damaged manifest, for one of another format, and for one that names
    files outside its folder.
    """
    found = record.get("format") if isinstance(record, dict) else FORMAT
    if isinstance(found, int) and found != FORMAT:
        source = record.get("source", "DATA")
        raise PinxitError(
            f"{where} has format {found}; this version reads {FORMAT}.\n"
            f"Write the shards again (pinxit shard {source} OUT), or remove that file: the shards "
            "can be read without it."
        )
    manifest = convert_json(record, Manifest, where)
    for info in manifest.shards:
        if not is_safe_name(info.name) or not info.name.lower().endswith(".tar"):
            raise PinxitError(f"{where} is damaged: {info.name!r} is no name of a shard beside it.")
    return manifest


def check_output(folder: Path, planned: Manifest) -> Manifest | None:
    """Return the manifest of an output that is to be continued; None for a new output.

    Raises UsageError if the folder holds anything else.
    """
    if not folder.exists():
        return None
    if not folder.is_dir():
        raise UsageError(f"{folder} is a file; OUT is a folder, new or empty.")
    found = read_manifest(folder)
    if found is None:
        if any(not file.name.startswith(".") for file in folder.iterdir()):
            raise UsageError(f"{folder} exists and is not empty; choose another OUT.")
        return None
    if not found.has_origin_of(planned):
        what = found.source if found.key != planned.key else f"{found.per_shard:,} images a shard"
        raise UsageError(
            f"{folder} already has shards of another source or division ({what}); "
            "choose another OUT, or remove it."
        )
    return found
