"""What the cache holds: its entries with size and last use, a bound on them, and leftovers.

    <24 hex digits>/      decoded images, see `pinxit.data.cache`
    features/<key>.*      a feature space that `pinxit evaluate` trained
    downloads/<key>/      shards of other machines, see `pinxit.data.remote.downloads`
    counts/               numbers of images of shards, see `pinxit.data.streams.counting`
    .<key>.<random>.part/ an entry that is being written; its writer holds the lock in it
    settings.json         the bound that `pinxit cache --max-size` set

An entry was last used when its description was last touched. Removing one that a process reads is
safe: a memory map stays valid until it is closed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from filelock import FileLock, Timeout

from pinxit.data.atomic_write import write_atomically
from pinxit.data.typed_json import convert_json, decode_json, read_json
from pinxit.errors import PinxitError, UsageError

SETTINGS_FILE, LOCK_FILE = "settings.json", ".lock"
STALE_SECONDS = 24 * 3600  # incomplete folders without a lock that are older were left behind
UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
BINARY_UNITS = {"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


@dataclass(frozen=True)
class CacheEntry:
    """Decoded images, a feature space, or what streams keep: downloads, counts."""

    paths: tuple[Path, ...]  # folders and files
    kind: str  # images, features, downloads, counts
    source: str  # of the images; "" if it was written by an older version
    size: int  # bytes
    used: float  # seconds since the epoch

    def remove(self) -> None:
        """Remove the entry, its description first. OSError if it cannot be removed."""
        for path in self.paths:
            if path.is_dir():
                (path / "info.json").unlink(missing_ok=True)
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


class CacheSettings(TypedDict, total=False):
    """What is set for a cache folder."""

    max_size: int | None  # bytes


def list_entries(root: Path) -> list[CacheEntry]:
    """Return the entries of a cache folder, the most recently used first."""
    entries = [*_list_images(root), *_list_features(root / "features"), *_list_streams(root)]
    return sorted(entries, key=lambda entry: (-entry.used, entry.paths))


def _list_images(root: Path) -> Iterator[CacheEntry]:
    for folder in _children(root):
        if not re.fullmatch(r"[0-9a-f]{24}", folder.name) or not folder.is_dir():
            continue
        with contextlib.suppress(OSError):  # another process removed it
            info = folder / "info.json"
            used = (info if info.is_file() else folder).stat().st_mtime
            yield CacheEntry((folder,), "images", _read_source(info), folder_size(folder), used)


def _list_features(folder: Path) -> Iterator[CacheEntry]:
    for file in _children(folder):
        if file.suffix != ".safetensors":
            continue
        with contextlib.suppress(OSError):
            record = file.with_suffix(".json")
            paths = (record, file) if record.is_file() else (file,)
            size, used = sum(p.stat().st_size for p in paths), paths[0].stat().st_mtime
            yield CacheEntry(paths, "features", _read_source(record), size, used)


def _list_streams(root: Path) -> Iterator[CacheEntry]:
    for kind in ("downloads", "counts"):
        folder = root / kind
        if size := folder_size(folder):
            with contextlib.suppress(OSError):
                used = max(path.stat().st_mtime for path in (folder, *_children(folder)))
                yield CacheEntry((folder,), kind, "shards", size, used)


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:  # there is no cache yet
        return []


def _read_source(file: Path) -> str:
    try:
        record = decode_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    source = record.get("source") if isinstance(record, dict) else None
    return source if isinstance(source, str) else ""


def folder_size(folder: Path) -> int:
    """Return the bytes of the files in a folder."""
    total = 0
    for file in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += file.lstat().st_size
    return total


def touch(file: Path) -> None:
    """Note that an entry was used; a cache that cannot be written keeps no note of it."""
    with contextlib.suppress(OSError):
        os.utime(file)


# -- bounds ----------------------------------------------------------------------------------------


def read_max_size(root: Path) -> int | None:
    """Return the bound of a cache in bytes; None if there is none."""
    try:
        settings = convert_json(read_json(root / SETTINGS_FILE), CacheSettings, SETTINGS_FILE)
    except (OSError, PinxitError):
        return None
    return settings.get("max_size")


def set_max_size(root: Path, size: int | None) -> None:
    """Bound a cache from now on; None removes the bound. OSError if it cannot be written."""
    write_atomically(root / SETTINGS_FILE, json.dumps({"max_size": size}) + "\n")


def enforce_max_size(root: Path, size: int | None, keep: Path | None = None) -> list[CacheEntry]:
    """Remove the least recently used entries until the rest is below a size, and return them.

    `keep` is not removed, whatever its size.
    """
    entries = list_entries(root)
    total, removed = sum(entry.size for entry in entries), []
    for entry in reversed(entries):
        if size is None or total <= size:
            break
        if keep in entry.paths:
            continue
        entry.remove()
        total -= entry.size
        removed.append(entry)
    return removed


def parse_bytes(text: str) -> int:
    """Return the bytes of a size such as `20GB`, `500 MB` or `2GiB`. Raises UsageError."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?i?)b?\s*", text.lower(), re.ASCII)
    units = UNITS | BINARY_UNITS
    if match is None or match[2] not in units:
        raise UsageError(f"a size is '20GB', '500MB' or '2GiB', not '{text}'.")
    return int(float(match[1]) * units[match[2]])


# -- leftovers -------------------------------------------------------------------------------------


def list_leftovers(root: Path) -> list[Path]:
    """Return the folders of writers that have ended before they were done."""
    return [path for path in _children(root) if path.match(".*.part") and _is_left(path)]


def remove_leftovers(root: Path) -> int:
    """Remove what writers left that were killed, and return its size in bytes."""
    total = 0
    for folder in list_leftovers(root):
        total += folder_size(folder)
        shutil.rmtree(folder, ignore_errors=True)
    return total


def _is_left(folder: Path) -> bool:
    """Return whether nobody writes a folder: its lock is free, or it has none and is old."""
    lock = folder / LOCK_FILE
    try:
        if not lock.is_file():
            return time.time() - folder.stat().st_mtime > STALE_SECONDS
        with FileLock(lock, timeout=0):
            return True
    except (Timeout, OSError, NotImplementedError):
        return False
