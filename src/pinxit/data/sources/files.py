"""One or more image files, named one by one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from pinxit.data.decode import SUFFIXES
from pinxit.data.images import SkippedFile
from pinxit.data.records import Kind, Record, Source, file_key, reader
from pinxit.errors import UsageError


def several(paths: Sequence[Path]) -> Source:
    """A source of these files. Raises UsageError where one is not there or is no image file."""
    paths = [path.expanduser() for path in paths]
    for path in paths:
        if not path.is_file():
            reason = "is a folder; name one alone" if path.is_dir() else "is not there"
            raise UsageError(f"{path} {reason}.")
        if path.suffix.lower() not in SUFFIXES:
            raise UsageError(f"{path} is no image file; those are: {', '.join(SUFFIXES)}.")

    def records() -> Iterator[Record | SkippedFile]:
        for path in paths:
            yield Record(path.as_posix(), reader(path))

    text = str(paths[0]) if len(paths) == 1 else f"{len(paths)} files"
    return Source(text, lambda: _key(paths), records, cached=False)


def _key(paths: Sequence[Path]) -> str:
    return " ".join(file_key(path.parent, [path]) for path in paths)


def find(text: str, seed: int) -> Source | None:
    path = Path(text).expanduser()
    if path.is_file() and path.suffix.lower() in SUFFIXES:
        return several([path])
    return None


KIND = Kind(
    data="FILE.png [FILE.jpg ...]",
    says="Image files: png, jpg, webp, bmp, gif (its first frame), tiff.",
    examples=("portrait.jpg", "a.png b.png"),
    find=find,
)
