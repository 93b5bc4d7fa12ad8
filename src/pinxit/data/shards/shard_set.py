"""`ShardSet`: shards in order, each of which is read on its own, so that no more is in memory."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from pinxit.data.record import Note, Record, UsedFile
from pinxit.data.shards.split_counts import SetCounts
from pinxit.data.skipped import SkippedFile
from pinxit.errors import PinxitError

FETCHES = 3  # of a shard whose file another process removes


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard, which need not be on this machine."""

    name: str  # its path in the set, with `/` between folders
    size: int | None = None  # bytes; None if it is not known before the shard is read
    version: str = ""  # changes with the content: a checksum, an ETag or times; "" if unknown


def is_safe_name(name: str) -> bool:
    """Return whether a shard's name is that of a file below its folder, on any system."""
    parts = name.split("/")
    is_plain = not any(part in ("", ".", "..") for part in parts)
    is_path = not any(mark in name for mark in "\\\0") and not PureWindowsPath(name).drive
    return is_plain and is_path and is_file_name(name)


def is_file_name(name: str) -> bool:
    """Return whether the file system can encode a name."""
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class LocalShard:
    """A file with the content of a shard, and the folder that its name is relative to."""

    root: Path
    file: Path
    is_only: bool = False  # of the source, which is one file of this machine


@dataclass(frozen=True, slots=True)
class Located:
    """A record of a shard, and the path of its image, whose folders may be labels and splits."""

    path: str
    record: Record


ShardItem = Located | SkippedFile | UsedFile | Note
# (shard, the split that its name gives, group_by) -> what the shard contains, in its order
ReadShard = Callable[[LocalShard, str | None, str], Iterator[ShardItem]]


@dataclass(frozen=True)
class ShardSet:
    """The shards of a source."""

    name: str  # DATA
    shards: tuple[Shard, ...]
    splits: tuple[str | None, ...]  # that the name of each shard gives
    read: ReadShard
    # returns a shard's file, which is fetched if it is on another machine
    fetch: Callable[[Shard], LocalShard]
    counts: SetCounts | None = None  # if `pinxit shard` wrote the shards, from their manifest
    reserve: Callable[[int], None] = lambda size: None  # room for that many bytes of files

    @property
    def size(self) -> int:
        """Bytes of all shards whose size is known."""
        return sum(shard.size or 0 for shard in self.shards)

    def items(self, i: int, group_by: str) -> list[ShardItem]:
        """Return what a shard contains. Fetches it again if it is removed meanwhile.

        Raises PinxitError if it cannot be fetched.
        """
        for attempt in range(FETCHES):
            local = self.fetch(self.shards[i])
            try:
                items = list(self.read(local, self.splits[i], group_by))
            except FileNotFoundError:
                if attempt + 1 == FETCHES:
                    raise
                continue
            if local.file.exists():
                return items
        raise PinxitError(
            f"{self.shards[i].name} is removed from the cache while it is read.\n"
            "Give PINXIT_CACHE more room (pinxit cache --max-size), or another folder."
        )

    def identity(self) -> list[tuple[str, int | None]]:
        """Return what is the same on every machine that has the shards."""
        return [(shard.name, shard.size) for shard in self.shards]

    def key(self) -> str:
        """Return a hash of names, sizes and versions of the shards, for caches of this machine."""
        digest = hashlib.blake2b(self.name.encode(errors="surrogateescape"), digest_size=16)
        for shard in self.shards:
            digest.update(repr((shard.name, shard.size, shard.version)).encode())
        return digest.hexdigest()
