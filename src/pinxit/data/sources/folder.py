"""A folder of images, by the conventions of `imagefolder` (`datasets`, torchvision).

Subfolders are labels; top-level folders that are all named `train`, `validation` (`val`) or `test`
are splits. Captions are in `metadata.jsonl` or `metadata.csv`, by `file_name`, or in a `.txt`
file next to each image.
"""

from __future__ import annotations

import csv
import functools
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from pinxit.data.captions import (
    merge_captions,
    parse_caption_filename,
    parse_caption_lines,
    parse_captions,
    separate_first,
)
from pinxit.data.formats import READABLE, SUFFIXES, describe_unsupported
from pinxit.data.groups import parse_group
from pinxit.data.images import SkippedFile
from pinxit.data.records import Record, Source, SourceType, hash_files
from pinxit.data.splits import parse_split
from pinxit.errors import UsageError

METADATA_FILES = ("metadata.jsonl", "metadata.csv")
# text files whose names begin like this are not captions
NOT_CAPTIONS = ("readme", "license", "licence", "labels", "classes", "notes", "requirements")


@dataclass
class Listing:
    """The relevant files of a folder, as paths relative to it."""

    images: list[str] = field(default_factory=list)
    metadata: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    skipped: list[SkippedFile] = field(default_factory=list)

    def add(self, name: str, path: str) -> None:
        """Add a file if its name says that it is relevant."""
        suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 (faster, for millions of files)
        if suffix in SUFFIXES:
            self.images.append(path)
        elif name.lower() in METADATA_FILES:
            self.metadata.append(path)
        elif suffix == ".txt" and not name.lower().startswith(NOT_CAPTIONS):
            self.texts.append(path)
        elif reason := describe_unsupported(name):
            self.skipped.append(SkippedFile(path, reason))


def open_folder(data: str, seed: int) -> Source | None:
    root = Path(data).expanduser()
    if not root.is_dir():
        return None

    @functools.cache
    def listing() -> Listing:
        files = list_folder(root)
        if not files.images and not files.skipped:
            raise UsageError(f"no images in {data} ({READABLE}).")
        return files

    def compute_key() -> str:
        files = listing()
        names = [*files.images, *files.metadata, *files.texts]
        skipped = "|".join(file.name for file in files.skipped)
        return hash_files(root, [root / name for name in names]) + skipped

    def with_groups(group_by: str) -> Source:
        return Source(
            data,
            compute_key,
            lambda: _list_records(root, listing(), group_by),
            with_groups=with_groups,
        )

    return with_groups("auto")


def has_images(root: Path) -> bool:
    """Return whether a folder, or one of its subfolders, contains image files."""
    return any(
        path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
        for pattern in ("*.*", "*/*.*")
        for path in root.glob(pattern)
    )


def list_folder(root: Path) -> Listing:
    """List the relevant files in a folder and its subfolders, sorted by name; no hidden ones."""
    listing = Listing()

    def skip_folder(error: OSError) -> None:
        folder = Path(error.filename).relative_to(root).as_posix()
        listing.skipped.append(SkippedFile(f"{folder}/", f"cannot be opened: {error.strerror}"))

    for folder, folders, files in os.walk(root, onerror=skip_folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        relative = Path(folder).relative_to(root)
        for name in sorted(files):
            if not name.startswith("."):
                listing.add(name, (relative / name).as_posix())
    return listing


def _list_records(root: Path, listing: Listing, group_by: str) -> Iterator[Record | SkippedFile]:
    yield from listing.skipped
    rows: dict[str, list[dict[str, Any]]] = {}  # metadata by image
    for name in listing.metadata:
        yield from _read_metadata(root, name, rows)
    captions: dict[str, dict[str, tuple[str, ...]]] = {}  # from text files, by stem and language
    for name in listing.texts:
        yield from _read_caption(root, name, captions)

    has_splits = _has_splits(listing.images)
    labels = _folder_labels(listing.images, has_splits)
    for name in listing.images:
        row, *more_rows = rows.pop(name, [{}])
        stem = str(PurePosixPath(name).with_suffix(""))
        label = row.get("label")
        split = row.get("split") or (name.split("/")[0] if has_splits else "")
        first, more = separate_first(
            merge_captions(
                *map(parse_captions, [row, *more_rows]),
                captions.pop(stem, {}),
            )
        )
        yield Record(
            name,
            (root / name).read_bytes,
            label=labels.get(name) if label in (None, "") else str(label),
            captions=first,
            more_captions=more,
            split=parse_split(str(split)),
            group=parse_group(row, group_by),
        )
    for name in rows:
        yield SkippedFile(name, "in the metadata, but the image does not exist")
    for stem in captions:
        yield SkippedFile(f"{stem}.txt", "a caption without an image")


def _has_splits(names: list[str]) -> bool:
    """Return whether all images are in top-level folders named after splits."""
    top_folders = {name.split("/")[0] if "/" in name else "" for name in names}
    return bool(top_folders) and all(parse_split(folder) is not None for folder in top_folders)


def _folder_labels(names: list[str], has_splits: bool) -> dict[str, str]:
    """Return the folder of each image as its label, if there are at least two folders."""
    labels = {}
    for name in names:
        folders = name.split("/")[1 if has_splits else 0 : -1]
        if folders:
            labels[name] = folders[-1]
    return labels if len(set(labels.values())) > 1 else {}


def _read_metadata(
    root: Path, name: str, rows: dict[str, list[dict[str, Any]]]
) -> Iterator[SkippedFile]:
    """Add the rows of a metadata file to `rows`, by the path of their image relative to root."""
    try:
        # `utf-8-sig`: spreadsheets write a byte order mark
        lines = (root / name).read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        yield SkippedFile(name, f"cannot be read: {getattr(error, 'strerror', None) or error}")
        return
    records = csv.DictReader(lines) if name.lower().endswith(".csv") else _parse_jsonl(lines)
    for number, row in enumerate(records, 1):
        file = row.get("file_name") if isinstance(row, dict) else None
        if not isinstance(file, str) or not file:
            yield SkippedFile(f"{name}, record {number}", "not a record with a file_name")
            continue
        path = os.path.normpath(PurePosixPath(name).parent / file.replace("\\", "/"))
        rows.setdefault(Path(path).as_posix(), []).append(row)


def _parse_jsonl(lines: list[str]) -> Iterator[Any]:
    for line in lines:
        if line.strip():
            try:
                yield json.loads(line)
            except ValueError:
                yield None


def _read_caption(
    root: Path, name: str, captions: dict[str, dict[str, tuple[str, ...]]]
) -> Iterator[SkippedFile]:
    """Add the captions in a text file to `captions`, by the stem of its image and its language."""
    stem, language = parse_caption_filename(name)
    try:
        text = (root / name).read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        yield SkippedFile(name, "the caption is not UTF-8 text")
        return
    if texts := parse_caption_lines(text):
        captions.setdefault(stem, {})[language] = texts


SOURCE_TYPE = SourceType(
    pattern="FOLDER/",
    description="Images. Subfolders are labels, or splits if they are named train, validation "
    "and test. Captions: metadata.jsonl or metadata.csv with file_name and caption (caption_en, "
    "caption_fr), or a .txt file next to each image.",
    examples=("photos/", "~/glyphs"),
    open=open_folder,
    match_order=2,
)
