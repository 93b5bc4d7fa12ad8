"""Sources of images: records that are read lazily, and a cache key that changes with the content.

`SourceType` is an entry of the registry `pinxit.data.sources`; it opens a `Source` from DATA.
`hash_files` computes the cache key of sources of files.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pinxit.data.record import Listed as Listed
from pinxit.data.record import Note as Note
from pinxit.data.record import Record as Record
from pinxit.data.record import UsedFile as UsedFile
from pinxit.data.shards.shard_set import ShardSet
from pinxit.data.skipped import SkippedFile

MAX_HASHED_BYTES = 8 << 20  # larger sources are identified by their files' sizes and times
MAX_HASHED_FILES = 2_000  # also sources of more files


@dataclass(frozen=True)
class Source:
    """Images that can be listed without being decoded."""

    name: str  # as the user typed it
    compute_key: Callable[[], str]  # changes when the content does; must be quick
    list_records: Callable[[], Iterator[Listed]]
    # returns the source rendered at a size (height, width), or at its default size for None;
    # None for sources of files
    at_size: Callable[[tuple[int, int] | None], Source] | None = None
    # returns the source with groups from another column; None for sources without columns
    with_groups: Callable[[str], Source] | None = None
    # files of the source that have no part in its key, so that they do not invalidate the cache
    list_unused: Callable[[], Sequence[SkippedFile]] = tuple
    notes: tuple[str, ...] = ()
    counts_files: bool = False  # every file is listed: as a record, as used, or as skipped
    use_cache: bool = True
    is_file_list: bool = False  # `name` is then the number of files
    shards: Callable[[], ShardSet] | None = None  # of a source that can be read shard by shard
    max_bytes: int | None = None  # of all decoded images; None: the bound of all sources
    has_final_splits: bool = False  # the records' splits are kept, whatever their pixels


@dataclass(frozen=True)
class SourceType:
    """A type of source. Each module in `pinxit.data.sources` with a `SOURCE_TYPE` adds one."""

    pattern: str  # what DATA looks like
    description: str
    examples: tuple[str, ...]
    # (DATA, seed) -> the source, or None if DATA does not match
    open: Callable[[str, int], Source | None]
    list_names: Callable[[], Iterable[str]] = tuple  # of sources that are opened by name
    # name -> the file that it would be, if no other type had the name
    find_same_name: Callable[[str], Path | None] = lambda name: None
    match_order: int = 1  # 0 names, then 1 file formats, then 2 any folder


def hash_files(root: Path, files: Iterable[Path]) -> str:
    """Return a hash of files: of their bytes if they are few and small, else of their stats.

    The stats include the change time. It cannot be set back, so a file that is replaced by one of
    the same size and modification time changes the hash. A missing file, such as the target of a
    dangling link, is hashed as missing; the error is raised when the file is decoded.
    """
    stats = [(file, _stat(file)) for file in files]
    size = sum(stat.st_size for _, stat in stats if stat)
    hash_content = len(stats) <= MAX_HASHED_FILES and size <= MAX_HASHED_BYTES
    digest = hashlib.blake2b(b"" if hash_content else os.fsencode(root.resolve()), digest_size=16)
    for file, stat in stats:
        name = os.fsencode(file.relative_to(root).as_posix())
        # lengths first, so that no two lists of files give the same bytes
        digest.update(f"{len(name)} {stat.st_size if stat else 'gone'} ".encode() + name)
        content = _read_or_none(file) if hash_content and stat else None
        if content is not None:
            digest.update(content)
        elif stat is not None:
            digest.update(f"{stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino}".encode())
    return digest.hexdigest()


def _stat(file: Path) -> os.stat_result | None:
    try:
        return file.stat()
    except OSError:
        return None


def _read_or_none(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except OSError:  # the file is skipped, with its reason, when it is decoded
        return None
