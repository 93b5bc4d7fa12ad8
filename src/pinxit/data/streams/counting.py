"""Count the images of shards of which there is no list: one pass, kept in the cache.

Headers and texts are read, and no images; shards of other machines are fetched. A pass that was
interrupted goes on: it is written from time to time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pinxit.console import track
from pinxit.data.atomic_write import write_atomically
from pinxit.data.cache import cache_dir, cache_key
from pinxit.data.shards.count import count_shard
from pinxit.data.shards.shard_set import ShardSet
from pinxit.data.shards.split_counts import (
    GroupCount,
    Label,
    SetCounts,
    ShardCount,
    SplitCounts,
)
from pinxit.data.skipped import SkippedFile
from pinxit.data.typed_json import convert_json, read_json
from pinxit.errors import PinxitError

FOLDER = "counts"  # in the cache
VERSION = 2  # increase it when what is counted changes
SECONDS_BETWEEN_RECORDS = 20.0
MAX_EXAMPLES = 12  # files that are not used and that are named


@dataclass(frozen=True)
class CountRecord:
    """The counts of the first shards of a set, as the cache has them."""

    shards: tuple[dict[str, SplitCounts], ...] = ()
    labels: tuple[Label, ...] = ()
    captions: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    skipped: int = 0
    examples: tuple[SkippedFile, ...] = ()
    groups: tuple[dict[str, GroupCount], ...] = ()  # of each shard
    has_pairs: bool = False

    def add(self, count: ShardCount) -> CountRecord:
        return CountRecord(
            (*self.shards, count.folders),
            tuple({*self.labels, *count.labels}),
            tuple({*self.captions, *count.captions}),
            tuple({*self.keywords, *count.keywords}),
            self.skipped + len(count.skipped),
            (*self.examples, *count.skipped)[:MAX_EXAMPLES],
            (*self.groups, count.groups),
            self.has_pairs or count.has_pairs,
        )


def count_set(shards: ShardSet, group_by: str, progress: bool) -> SetCounts:
    """Return what the shards hold: from their list, from the cache, or from one pass."""
    if shards.counts is not None and group_by == "auto":
        return shards.counts
    file = cache_dir() / FOLDER / f"{cache_key(VERSION, shards.key(), group_by)}.json"
    record = _read(file)
    if len(record.shards) < len(shards.shards):
        record = _Pass(shards, group_by, record).run(file, progress)
    return SetCounts(
        record.shards,
        tuple(sorted(record.labels, key=repr)),
        tuple(sorted(record.captions)),
        tuple(sorted(record.keywords)),
        record.skipped,
        record.examples,
        record.groups,
        record.has_pairs,
    )


class _Pass:
    """Counts the shards that a record does not have yet."""

    def __init__(self, shards: ShardSet, group_by: str, record: CountRecord) -> None:
        self.set, self.group_by = shards, group_by
        self.folders, self.groups = list(record.shards), list(record.groups)
        self.rest = dataclasses.replace(record, shards=(), groups=())

    def run(self, file: Path, progress: bool) -> CountRecord:
        written = time.monotonic()
        total = len(self.set.shards) - len(self.folders)
        try:
            for _ in track(
                self._count(), total, f"counting the shards of {self.set.name}", progress
            ):
                if time.monotonic() - written > SECONDS_BETWEEN_RECORDS:
                    self._write(file)
                    written = time.monotonic()
        finally:
            self._write(file)
        return self._record()

    def _count(self) -> Iterator[tuple[int, None]]:
        for i in range(len(self.folders), len(self.set.shards)):
            count = count_shard(self.set.items(i, self.group_by))
            self.folders.append(count.folders)
            self.groups.append(count.groups)
            self.rest = dataclasses.replace(self.rest.add(count), shards=(), groups=())
            yield 1, None

    def _record(self) -> CountRecord:
        shards, groups = tuple(self.folders), tuple(self.groups)
        return dataclasses.replace(self.rest, shards=shards, groups=groups)

    def _write(self, file: Path) -> None:
        record = self._record()
        with contextlib.suppress(OSError):  # a cache that cannot be written: counted again
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(file, json.dumps(dataclasses.asdict(record)))


def _read(file: Path) -> CountRecord:
    try:
        return convert_json(read_json(file), CountRecord, str(file))
    except (OSError, PinxitError):
        return CountRecord()
