"""List the files in a tar archive, also of a damaged one, and say what is missing.

`tarfile` ends in silence at a header that is damaged or cut off, and at the end of the first of
several archives in one file. So headers are searched beyond blocks of zeros, and the bytes between
two files are checked.
"""

from __future__ import annotations

import posixpath
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pinxit.data.imagefolder.listing import HIDDEN
from pinxit.data.shards.plain_tar import list_plain
from pinxit.data.skipped import SYSTEM_REASON, SkippedFile, is_system_file

TRUNCATED = "the shard is truncated here"
ENDS_EARLY = "the shard is truncated: it has no end mark, so files may be missing"
DAMAGED = "the shard is truncated or damaged: files may be missing"
BLOCK_BYTES = tarfile.BLOCKSIZE

_COMPRESSED = (
    (b"\x1f\x8b", "gunzip"),
    (b"BZh", "bunzip2"),
    (b"\xfd7zXZ", "unxz"),
    (b"\x28\xb5\x2f\xfd", "unzstd"),
)


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a shard, and where its bytes are."""

    shard: Path
    name: str  # its path, without `./` and without `/` in front
    offset: int
    size: int

    def read(self) -> bytes:
        with self.shard.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.size)


def list_members(shard: Path) -> Iterator[Member | SkippedFile]:
    """Yield each file of a tar archive in its order, or why it is not read."""
    if (plain := list_plain(shard)) is not None:
        yield from (Member(shard, *member) for member in plain)
        return
    is_empty = True
    try:
        for member in _list_members(shard):
            is_empty = is_empty and member == SkippedFile(shard.name, DAMAGED)
            if not is_empty:
                yield member
    except OSError as error:
        yield SkippedFile(shard.name, f"cannot be opened: {error.strerror or error}")
    except (tarfile.TarError, ValueError):
        if not is_empty:
            yield SkippedFile(shard.name, DAMAGED)
    if is_empty and (reason := _describe_start(shard)):
        yield SkippedFile(shard.name, reason)


def _list_members(shard: Path) -> Iterator[Member | SkippedFile]:
    size, end = shard.stat().st_size, 0
    by_name: dict[str, Member] = {}  # the last one of each name, as links name it
    with tarfile.open(shard, "r:", ignore_zeros=True) as tar, shard.open("rb") as file:
        while (info := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]  # they would take 1 kB each
            if _has_content(file, end, info.offset):
                yield SkippedFile(shard.name, DAMAGED)
            end = tar.offset  # of the next header
            has_data = end > info.offset_data
            if (info.offset_data + info.size if has_data else end) > size:
                yield SkippedFile(f"{shard.name}/{info.name}", TRUNCATED)
                return
            if not info.isdir():
                yield _make_member(shard, info, by_name)
        if size - end < BLOCK_BYTES:
            yield SkippedFile(shard.name, ENDS_EARLY)
        elif _has_content(file, end, size):
            yield SkippedFile(shard.name, DAMAGED)


def _has_content(file: object, start: int, end: int) -> bool:
    """Return whether a byte of a file between two positions is not zero."""
    file.seek(start)  # type: ignore[attr-defined]
    while start < end:
        block: bytes = file.read(min(end - start, 1 << 20))  # type: ignore[attr-defined]
        if not block or block.strip(b"\0"):
            return bool(block)
        start += len(block)
    return False


def _make_member(
    shard: Path, info: tarfile.TarInfo, by_name: dict[str, Member]
) -> Member | SkippedFile:
    """Return a file that is used, or why not; a link to an earlier file has its content."""
    name = posixpath.normpath(info.name).lstrip("/")
    if is_system_file(name):
        return SkippedFile(f"{shard.name}/{name}", SYSTEM_REASON)
    if any(part.startswith(".") for part in name.split("/")):
        return SkippedFile(f"{shard.name}/{name}", HIDDEN)
    if info.issym() or info.islnk():
        folder = posixpath.dirname(name) if info.issym() else ""
        target = posixpath.normpath(posixpath.join(folder, info.linkname)).lstrip("/")
        if target not in by_name:
            reason = "a link to a file that is not in front of it in the shard"
            return SkippedFile(f"{shard.name}/{name}", reason)
        member = Member(shard, name, by_name[target].offset, by_name[target].size)
    elif not info.isreg() or info.issparse():
        reason = "a sparse file" if info.issparse() else "not a regular file"
        return SkippedFile(f"{shard.name}/{name}", reason)
    else:
        member = Member(shard, name, info.offset_data, info.size)
    by_name[name] = member
    return member


def _describe_start(shard: Path) -> str:
    """Return why there is no file in a shard, by its first bytes; "" if it is an empty archive."""
    try:
        with shard.open("rb") as file:
            start = file.read(BLOCK_BYTES)
    except OSError:
        return ""  # said already
    if not start:
        return "the file is empty"
    for signature, command in _COMPRESSED:
        if start.startswith(signature):
            return f"a compressed file, whatever its name says; run {command} first"
    if not start.strip(b"\0"):
        return ""
    is_header = start[257:262] == b"ustar" or len(start) < BLOCK_BYTES
    return DAMAGED if is_header else "not a tar file, or a damaged one"
