"""A folder of images, by the `imagefolder` convention.

Subfolders are labels. Captions are in `metadata.jsonl` or `metadata.csv`, by `file_name`, or in a
`.txt` beside an image. Where the topmost folders are `train`, `validation` (`val`) and `test`,
they are the splits.
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

from pinxit.data.captions import parse_caption_filename, parse_captions
from pinxit.data.decode import SUFFIXES
from pinxit.data.images import SkippedFile
from pinxit.data.records import Kind, Record, Source, file_key, reader
from pinxit.data.splits import parse_split
from pinxit.errors import UsageError

METADATA = ("metadata.jsonl", "metadata.csv")
# formats that people have images in and that are not read: told, rather than passed over
UNREAD = (".heic", ".heif", ".avif", ".svg", ".psd", ".dng", ".nef", ".cr2", ".arw", ".jxl")
NO_CAPTIONS = ("readme", "license", "licence", "labels", "classes", "notes", "requirements")


@dataclass
class Listing:
    """The files of a folder that matter, as paths within it."""

    images: list[str] = field(default_factory=list)
    metadata: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    skipped: list[SkippedFile] = field(default_factory=list)


def find(text: str, seed: int) -> Source | None:
    root = Path(text).expanduser()
    if not root.is_dir():
        return None

    @functools.cache
    def listing() -> Listing:
        found = list_folder(root)
        if not found.images and not found.skipped:
            raise UsageError(f"there is no image in {text}; looked for {', '.join(SUFFIXES)}.")
        return found

    def key() -> str:
        found = listing()
        names = [*found.images, *found.metadata, *found.texts]
        unread = "|".join(left.name for left in found.skipped)
        return file_key(root, [root / name for name in names]) + unread

    return Source(text, key, lambda: _records(root, listing()))


def has_images(root: Path) -> bool:
    """Whether image files lie in a folder or in those directly within it."""
    return any(
        path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
        for pattern in ("*.*", "*/*.*")
        for path in root.glob(pattern)
    )


def list_folder(root: Path) -> Listing:
    """Every file in a folder that matters, in the order of the names; hidden ones do not."""
    found = Listing()

    def unreadable(error: OSError) -> None:
        folder = Path(error.filename).relative_to(root).as_posix()
        found.skipped.append(SkippedFile(f"{folder}/", f"cannot be opened: {error.strerror}"))

    for folder, folders, files in os.walk(root, onerror=unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        within = Path(folder).relative_to(root)
        for name in sorted(files):
            if not name.startswith("."):
                _sort_in(found, name, (within / name).as_posix())
    return found


def _sort_in(found: Listing, name: str, path: str) -> None:
    suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 (quicker than a Path, for millions)
    if suffix in SUFFIXES:
        found.images.append(path)
    elif name.lower() in METADATA:
        found.metadata.append(path)
    elif suffix == ".txt" and not name.lower().startswith(NO_CAPTIONS):
        found.texts.append(path)
    elif suffix in UNREAD:
        reason = f"{suffix[1:].upper()} is not read; save it as PNG or JPEG"
        found.skipped.append(SkippedFile(path, reason))


def _records(root: Path, found: Listing) -> Iterator[Record | SkippedFile]:
    yield from found.skipped
    told: dict[str, dict[str, Any]] = {}
    for name in found.metadata:
        yield from _metadata(root, name, told)
    written: dict[str, dict[str, str]] = {}
    for name in found.texts:
        yield from _text(root, name, written)

    has_splits = _has_splits(found.images)
    labels = _folder_labels(found.images, has_splits)
    for name in found.images:
        row = told.pop(name, {})
        stem = str(PurePosixPath(name).with_suffix(""))
        label = row.get("label")
        split = row.get("split") or (name.split("/")[0] if has_splits else "")
        yield Record(
            name,
            reader(root / name),
            label=labels.get(name) if label in (None, "") else str(label),
            captions={**written.pop(stem, {}), **parse_captions(row)},
            split=parse_split(str(split)),
        )
    for name in told:
        yield SkippedFile(name, "in the metadata, but there is no such image")
    for stem in written:
        yield SkippedFile(f"{stem}.txt", "a caption beside no image")


def _has_splits(names: list[str]) -> bool:
    tops = {name.split("/")[0] if "/" in name else "" for name in names}
    return bool(tops) and all(parse_split(top) is not None for top in tops)


def _folder_labels(names: list[str], has_splits: bool) -> dict[str, str]:
    """The folder that each image lies in, where there are at least two; one says nothing."""
    labels = {}
    for name in names:
        folders = name.split("/")[1 if has_splits else 0 : -1]
        if folders:
            labels[name] = folders[-1]
    return labels if len(set(labels.values())) > 1 else {}


def _metadata(root: Path, name: str, told: dict[str, dict[str, Any]]) -> Iterator[SkippedFile]:
    """Add the rows of a metadata file to `told`, under the image's path within the root."""
    try:
        # `utf-8-sig`: spreadsheets begin a file with a byte order mark
        lines = (root / name).read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        yield SkippedFile(name, f"cannot be read: {getattr(error, 'strerror', None) or error}")
        return
    rows = csv.DictReader(lines) if name.lower().endswith(".csv") else _json_rows(lines)
    for number, row in enumerate(rows, 1):
        file = row.get("file_name") if isinstance(row, dict) else None
        if not isinstance(file, str) or not file:
            yield SkippedFile(f"{name}, record {number}", "not a record with a file_name")
            continue
        path = os.path.normpath(PurePosixPath(name).parent / file.replace("\\", "/"))
        told[Path(path).as_posix()] = row


def _json_rows(lines: list[str]) -> Iterator[Any]:
    for line in lines:
        if line.strip():
            try:
                yield json.loads(line)
            except ValueError:
                yield None


def _text(root: Path, name: str, written: dict[str, dict[str, str]]) -> Iterator[SkippedFile]:
    stem, language = parse_caption_filename(name)
    try:
        caption = (root / name).read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        yield SkippedFile(name, "a caption that is not UTF-8 text")
        return
    if caption.strip():
        written.setdefault(stem, {})[language] = " ".join(caption.split())


KIND = Kind(
    data="FOLDER/",
    says="Images. Subfolders are labels, or splits if named train, validation, test. "
    "Captions: metadata.jsonl or .csv with file_name and caption (caption_en, caption_fr), "
    "or a .txt beside each image.",
    examples=("photos/", "~/glyphs"),
    find=find,
    rank=2,
)
