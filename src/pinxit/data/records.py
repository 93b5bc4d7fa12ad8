"""What a source gives: records, lazily, and a key that changes when its content does."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pinxit.data.images import SkippedFile

if TYPE_CHECKING:
    import numpy as np

HASHED_BYTES = 8 << 20  # a source up to this size is told by its bytes, not its files' times
HASHED_FILES = 2_000  # and up to this many files


@dataclass(frozen=True, slots=True)
class Record:
    """One image that has not been read yet, and what its source says of it."""

    name: str  # within the source, `/` between folders
    # the file's bytes, or pixels [h, w] or [h, w, c]; called in a worker thread
    read: Callable[[], bytes | np.ndarray]
    label: str | None = None
    rank: int | None = None  # the label's number, where the source numbers its labels
    captions: dict[str, str] = field(default_factory=dict)  # language -> caption
    split: str | None = None  # of `SPLITS`; None where the source does not say


@dataclass(frozen=True)
class Source:
    """Images that can be listed without being decoded."""

    text: str  # as the user named it
    key: Callable[[], str]  # of the content, found cheaply
    records: Callable[[], Iterator[Record | SkippedFile]]
    # a source that draws its images draws them at a size (height, width); None for its own
    at_size: Callable[[tuple[int, int] | None], Source] | None = None
    cached: bool = True  # a few files are not worth a cache


@dataclass(frozen=True)
class Kind:
    """A kind of source. A module in `pinxit.data.sources` that has a `KIND` adds one."""

    data: str  # what DATA looks like
    says: str  # in a line
    examples: tuple[str, ...]
    # the source that a text and a seed mean, or None where the text means nothing here
    find: Callable[[str, int], Source | None]
    names: Callable[[], Iterable[str]] = tuple  # the names it answers to
    rank: int = 1  # asked in this order: 0 names, 1 files of a format, 2 what is left


def file_key(root: Path, files: Iterable[Path]) -> str:
    """A key of files' content: of their bytes where they are few, else of their sizes and times.

    The change time is among the times: it cannot be set back, so that a file replaced by one of
    the same size and modification time is noticed. A file that is gone, such as what a dangling
    link names, is part of the key as such: its reader tells of it.
    """
    stats = [(file, _stat(file)) for file in files]
    size = sum(stat.st_size for _, stat in stats if stat)
    hashed = len(stats) <= HASHED_FILES and size <= HASHED_BYTES
    digest = hashlib.blake2b(b"" if hashed else os.fsencode(root.resolve()), digest_size=16)
    for file, stat in stats:
        name = os.fsencode(file.relative_to(root).as_posix())
        # lengths first, so that no two lists of files give the same bytes
        digest.update(f"{len(name)} {stat.st_size if stat else 'gone'} ".encode() + name)
        content = _bytes_or_none(file) if hashed and stat else None
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


def reader(file: Path) -> Callable[[], bytes]:
    """Reads a file when it is called."""
    return functools.partial(_read, file)


def _read(file: Path) -> bytes:
    return file.read_bytes()


def _bytes_or_none(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except OSError:  # unreadable: it is left out, with its reason, when it is decoded
        return None
