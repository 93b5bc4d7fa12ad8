"""List the files of a folder by their role: images, metadata, texts, and those that are not used.

Links to folders are followed. A folder is read once, under its own name if it is in the tree.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pinxit.data.formats import SUFFIXES, describe_unsupported
from pinxit.data.skipped import (
    SHEET_SOFTWARE,
    SYSTEM_REASON,
    SkippedFile,
    is_system_file,
    is_system_folder,
)
from pinxit.data.typed_json import decode_json

METADATA_NAME = re.compile(
    r"(?:metadata.*|captions?|labels?|annotations?|prompts?)\.(?:jsonl|ndjson|json|csv|tsv|parquet)"
    r"|(?:metadata|captions)\.txt"
)
CAPTION_SUFFIXES = (".txt", ".caption")
HIDDEN = "hidden: a name begins with a dot"

_TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet", ".xlsx", ".xls", ".ods")
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".zst")
_DOCUMENTS = (".md", ".rst", ".html", ".htm", ".doc", ".docx", ".rtf", ".bib", ".cff")
# first bytes of the usual formats, and the suffix that they should have
_SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG", ".jpg"),
    (b"\x89PNG\r\n\x1a\n", "PNG", ".png"),
    (b"GIF8", "GIF", ".gif"),
    (b"II*\0", "TIFF", ".tif"),
    (b"MM\0*", "TIFF", ".tif"),
)


@dataclass
class Listing:
    """The files of a folder, as paths relative to it, sorted by folder and name."""

    images: list[str] = field(default_factory=list)
    metadata: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    skipped: list[SkippedFile] = field(default_factory=list)


def list_folder(root: Path) -> Listing:
    """List every file in a folder and its subfolders, by its role."""
    listing = Listing()
    for item in _walk(root):
        if isinstance(item, SkippedFile):
            listing.skipped.append(item)
        else:
            _add(listing, root, item)
    _prefer_captions(listing)
    for names in (listing.images, listing.metadata, listing.texts):
        names.sort(key=_sort_key)
    listing.skipped.sort(key=lambda file: _sort_key(file.name))
    return listing


def contains_image(root: Path) -> bool:
    """Return whether a folder, or one of its subfolders, contains an image file."""
    return any(isinstance(item, str) and _suffix(item) in SUFFIXES for item in _walk(root))


def _sort_key(name: str) -> tuple[list[str], str]:
    *folders, file = name.split("/")
    return folders, file


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 (faster, for millions of files)


# -- the tree --------------------------------------------------------------------------------------


def _walk(root: Path) -> Iterator[str | SkippedFile]:
    """Yield the path of each regular file, or why it is skipped."""
    links: list[tuple[str, str]] = []  # to folders: path and the reason to skip its files, or ""
    read = {_identity(root)}  # the folders that were read
    yield from _walk_folder(root, "", "", links, read)
    while links:
        path, reason = links.pop(0)
        target = _identity(root / path)
        if target is None:
            yield SkippedFile(f"{path}/", "cannot be opened", "folder")
            continue
        if target in read:
            yield SkippedFile(f"{path}/", "a link to a folder that is read already", "folder")
            continue
        read.add(target)
        yield from _walk_folder(root, path, reason, links, read)


def _walk_folder(
    root: Path,
    folder: str,
    reason: str,
    links: list[tuple[str, str]],
    read: set[tuple[int, int] | None],
) -> Iterator[str | SkippedFile]:
    """Yield the files of a folder; with a `reason`, all as skipped. Collects links to folders."""
    try:
        with os.scandir(root / folder) as scan:
            entries = sorted(scan, key=lambda entry: entry.name)
    except OSError as error:
        yield SkippedFile(f"{folder}/", f"cannot be opened: {error.strerror}", "folder")
        return
    if folder and not reason and _is_run_folder(entries):
        reason = "in a run folder"
    for entry in entries:
        path = f"{folder}/{entry.name}" if folder else entry.name
        if not _is_folder(entry):
            yield _skip_or_name(entry, path, reason)
        elif entry.is_symlink():
            links.append((path, reason or _reason_to_skip_folder(entry.name)))
        elif (identity := _identity(root / path)) in read:
            yield SkippedFile(f"{path}/", "a folder that is read already", "folder")
        else:
            read.add(identity)
            inner = reason or _reason_to_skip_folder(entry.name)
            yield from _walk_folder(root, path, inner, links, read)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a folder or a link to one; not a link to itself."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _identity(folder: Path) -> tuple[int, int] | None:
    """Return what a folder is, whatever its path; None if it is gone."""
    try:
        info = folder.stat()
    except OSError:
        return None
    return info.st_dev, info.st_ino


def _is_run_folder(entries: list[os.DirEntry[str]]) -> bool:
    """Return whether these are the entries of a run folder: its samples are no data."""
    config = next((entry for entry in entries if entry.name == "config.json"), None)
    if config is None:
        return False
    try:
        content = decode_json(Path(config.path).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and {"format", "family"} <= content.keys()


def _reason_to_skip_folder(name: str) -> str:
    if is_system_folder(name):
        return SYSTEM_REASON
    return HIDDEN if name.startswith(".") else ""


def _skip_or_name(entry: os.DirEntry[str], path: str, reason: str) -> str | SkippedFile:
    if is_system_file(path):
        return SkippedFile(path, SYSTEM_REASON)
    if reason or entry.name.startswith("."):
        return SkippedFile(path, reason or HIDDEN)
    if entry.is_symlink() and not Path(entry.path).exists() and _is_loop(entry):
        return SkippedFile(path, "a link to itself")
    if not entry.is_file() and _is_special(entry):
        return SkippedFile(path, "not a regular file")
    return path


def _is_loop(entry: os.DirEntry[str]) -> bool:
    """Return whether a link leads to itself, also through others."""
    try:
        entry.stat()
    except OSError as error:
        return error.errno == errno.ELOOP
    return False


def _is_special(entry: os.DirEntry[str]) -> bool:
    """Return whether reading a file might never end: a pipe, a device. Not for dangling links."""
    try:
        return not stat.S_ISREG(entry.stat().st_mode)
    except OSError:
        return False


# -- roles -----------------------------------------------------------------------------------------


def _add(listing: Listing, root: Path, path: str) -> None:
    """Add a file to the list of its role."""
    name = path.rpartition("/")[2]
    suffix = _suffix(name)
    if suffix in SUFFIXES:
        if suffix == ".png" and name.startswith("look-") and _is_sheet(root / path):
            listing.skipped.append(SkippedFile(path, "a contact sheet of pinxit look"))
        else:
            listing.images.append(path)
    elif METADATA_NAME.fullmatch(name.lower()):
        listing.metadata.append(path)
    elif suffix in CAPTION_SUFFIXES:
        listing.texts.append(path)
    else:
        reason = describe_unsupported(name) or _describe_signature(root / path)
        listing.skipped.append(SkippedFile(path, reason or _describe_other(suffix)))


def _prefer_captions(listing: Listing) -> None:
    """Move `captions.txt` to the texts if there is an image `captions.png` beside it."""
    stems = {os.path.splitext(name)[0] for name in listing.images}  # noqa: PTH122
    for name in [name for name in listing.metadata if name.lower().endswith(".txt")]:
        if name[:-4] in stems:
            listing.metadata.remove(name)
            listing.texts.append(name)


def _is_sheet(file: Path) -> bool:
    return f"Software\0{SHEET_SOFTWARE}".encode() in _read_start(file, 256)


def _read_start(file: Path, num_bytes: int) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(num_bytes)
    except OSError:
        return b""


def _describe_signature(file: Path) -> str:
    """Return that a file looks like an image, by its first bytes, or ""."""
    start = _read_start(file, 16)
    signatures = _SIGNATURES
    if start[8:12] == b"WEBP":
        signatures = ((b"RIFF", "WebP", ".webp"),)
    for signature, name, suffix in signatures:
        if start.startswith(signature):
            return f"looks like a {name} file; rename it to {suffix}"
    return ""


def _describe_other(suffix: str) -> str:
    if suffix in _TABLES:
        return "a table; if it describes the images, name it metadata.csv or .jsonl"
    if suffix in _ARCHIVES:
        return "an archive; unpack it first"
    if suffix in _DOCUMENTS:
        return "a document"
    return "not an image, metadata or a caption"
