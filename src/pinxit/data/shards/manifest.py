"""`_shards.json`: what a folder of shards was made from, and each shard with its checksum."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path

from pinxit.data.atomic_write import write_atomically
from pinxit.data.typed_json import convert_json, read_json
from pinxit.errors import PinxitError, UsageError

MANIFEST = "_shards.json"
LOCK = ".lock"  # held by the process that writes a folder of shards
FORMAT = 1


@dataclass(frozen=True)
class ShardInfo:
    """A shard that is complete."""

    name: str
    samples: int
    bytes: int
    crc32: str  # of the whole file, 8 hex digits


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
    format: int = FORMAT

    @property
    def samples(self) -> int:
        """Number of images in all shards."""
        return sum(shard.samples for shard in self.shards)

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

    def write(self, folder: Path) -> None:
        """Write the file atomically."""
        text = json.dumps(dataclasses.asdict(self), indent=1)
        write_atomically(folder / MANIFEST, text + "\n")


def read_manifest(folder: Path) -> Manifest | None:
    """Return what is in a folder of shards, or None if it has no manifest.

    Raises PinxitError for a damaged manifest, and for one of another format.
    """
    file = folder / MANIFEST
    if not file.exists():
        return None
    manifest = convert_json(read_json(file), Manifest, str(file))
    if manifest.format != FORMAT:
        raise PinxitError(f"{file} has format {manifest.format}; this version reads {FORMAT}.")
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
