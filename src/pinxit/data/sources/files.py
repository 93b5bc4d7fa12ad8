"""One or more image files, each given by its path."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from pinxit.data.formats import READABLE, SUFFIXES, describe_unsupported
from pinxit.data.home_folder import expand_home
from pinxit.data.records import Record, Source, SourceType, hash_files
from pinxit.errors import UsageError


def open_file(data: str, seed: int) -> Source | None:
    path = expand_home(data)
    if path.is_file() and path.suffix.lower() in SUFFIXES:
        return image_files([path])
    return None


def image_files(paths: Sequence[Path]) -> Source:
    """Return the source of these files. Raises UsageError if one is missing or not an image."""
    paths = [expand_home(path) for path in paths]
    for path in paths:
        if path.is_dir():
            raise UsageError(f"{path} is a folder; a folder must be the only DATA.")
        if reason := describe_unsupported(path.name):
            raise UsageError(f"{path}: {reason}.")
        if path.suffix.lower() not in SUFFIXES:
            raise UsageError(
                f"{path} is not an image file ({READABLE}). "
                "DATA is one source, or several image files."
            )
        if not path.is_file():
            raise UsageError(f"{path} does not exist. DATA is one source, or several image files.")

    def list_records() -> Iterator[Record]:
        for path in paths:
            yield Record(path.as_posix(), path.read_bytes, file=path)

    name = str(paths[0]) if len(paths) == 1 else f"{len(paths)} files"
    return Source(
        name,
        lambda: _compute_key(paths),
        list_records,
        use_cache=False,  # a few files are decoded faster than they are cached
        counts_files=True,
        is_file_list=len(paths) > 1,
    )


def _compute_key(paths: Sequence[Path]) -> str:
    return " ".join(hash_files(path.parent, [path]) for path in paths)


SOURCE_TYPE = SourceType(
    pattern="FILE.png [FILE.jpg ...]",
    description="Image files: png, jpg, webp, tiff, gif (first frame) and others (Pillow).",
    examples=("portrait.jpg", "a.png b.png"),
    open=open_file,
)
