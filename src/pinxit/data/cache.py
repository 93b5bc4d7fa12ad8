"""Cache of decoded images on disk: one folder per source and settings.

    pixels.npy    uint8 [n, height, width, channel], read as a memory map
    labels.npy    int64 [n], for images with labels
    splits.npy    int8 [n]
    groups.npy    int64 [n], for images with groups
    info.json     names, label names, captions, keywords, skipped files, notes and the fingerprint

A folder is written under a temporary name and renamed when it is complete. Of several processes
that write the same images, the first to finish wins, and the others read its folder.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from filelock import FileLock

from pinxit.data.cache_entries import (
    LOCK_FILE,
    enforce_max_size,
    read_max_size,
    remove_leftovers,
    touch,
)
from pinxit.data.images import Images, SkippedFile
from pinxit.data.typed_json import decode_json
from pinxit.errors import PinxitError, UsageError, describe_os_error

VERSION = 9  # increase it when decoding or the files change: older folders are then ignored
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class UnwritableCache(PinxitError):
    """The cache folder cannot be written, and it is not for want of room."""


def cache_dir() -> Path:
    """Return `$PINXIT_CACHE`, or `pinxit` in the user's cache folder (XDG)."""
    if folder := os.environ.get("PINXIT_CACHE"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pinxit"


def cache_key(*parts: object) -> str:
    """Return the name of the folder for a source's key and the settings it is loaded with."""
    return hashlib.blake2b(repr((VERSION, *parts)).encode(), digest_size=12).hexdigest()


def load_cached(key: str, root: Path | None = None) -> Images | None:
    """Load the images of a key, with memory-mapped pixels; `root` is the cache folder.

    Returns None if there is no such folder, or if it is damaged or has another format.
    """
    folder = (root or cache_dir()) / key
    try:
        images = _load_folder(folder)
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, UsageError):
        return None
    touch(folder / "info.json")
    return images


def _load_folder(folder: Path) -> Images:
    info: dict[str, Any] = decode_json((folder / "info.json").read_text(encoding="utf-8"))
    pixels = np.load(folder / "pixels.npy", mmap_mode="r")
    labels = np.load(folder / "labels.npy") if info["has_labels"] else None
    splits = np.load(folder / "splits.npy")
    groups = np.load(folder / "groups.npy") if info["has_groups"] else None
    columns = [pixels, splits, info["names"], *info["captions"].values()]
    columns += [*info["more_captions"].values(), *info["keywords"].values()]
    columns += [column for column in (labels, groups) if column is not None]
    if len({len(column) for column in columns}) > 1:
        raise ValueError(f"the files in {folder} differ in their number of images")
    return Images(
        pixels,
        names=info["names"],
        labels=labels,
        label_names=tuple(info["label_names"]),
        captions=info["captions"],
        more_captions=_to_tuples(info["more_captions"]),
        keywords=_to_tuples(info["keywords"]),
        splits=splits,
        groups=groups,
        fingerprint=info["fingerprint"],
        skipped=tuple(SkippedFile(**file) for file in info["skipped"]),
        file_counts=info["file_counts"],
        notes=tuple(info["notes"]),
        losses=tuple(info.get("losses", ())),
        conversion=info["conversion"],
    )


def _to_tuples(columns: dict[str, list[list[str]]]) -> dict[str, Sequence[tuple[str, ...]]]:
    """Return the texts of each image as JSON has them, as tuples."""
    return {language: [tuple(texts) for texts in column] for language, column in columns.items()}


class CacheWriter:
    """Writes a folder of the cache. A context manager that removes it unless `commit` is called.

    `root` is the cache folder. Raises UnwritableCache if it cannot be written, PinxitError if there
    is no room in it.
    """

    def __init__(self, key: str, root: Path | None = None, source: str = "") -> None:
        self.source = source  # its name, for the list of the cache
        self.folder = (root or cache_dir()) / key
        parent = self.folder.parent
        try:
            parent.mkdir(parents=True, exist_ok=True)
            remove_leftovers(parent)
            self.temporary = Path(tempfile.mkdtemp(prefix=f".{key}.", suffix=".part", dir=parent))
        except OSError as error:
            raise self._error(error) from None
        self._lock = FileLock(self.temporary / LOCK_FILE, timeout=0)
        with contextlib.suppress(OSError, NotImplementedError):  # without locks: by its age
            self._lock.acquire()

    def __enter__(self) -> CacheWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()
        shutil.rmtree(self.temporary, ignore_errors=True)

    def _error(self, error: OSError) -> PinxitError:
        """Return the error of a cache that cannot be written."""
        reason = describe_os_error(error).splitlines()[0]
        text = f"cannot cache decoded images in {self.folder.parent}: {reason}"
        if error.errno in NO_ROOM:
            return PinxitError(
                f"{text}\nUse a smaller --size or a --limit, free some space "
                "(pinxit cache --clear), or set PINXIT_CACHE to another folder."
            )
        return UnwritableCache(f"{text} Set PINXIT_CACHE to another folder.")

    @contextlib.contextmanager
    def _explain(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._error(error) from None

    def write_pixels(
        self, blocks: Iterable[np.ndarray], max_images: int, dims: tuple[int, int, int]
    ) -> np.ndarray:
        """Write blocks `[k, height, width, channel]` to one file, and return its memory map.

        There are at most `max_images` images in all, and fewer if some cannot be decoded.
        Raises PinxitError if the disk has no room for them.
        """
        with self._explain():
            self._check_free_space(max_images * int(np.prod(dims)))
            file = (self.temporary / "pixels.npy").open("wb")
        count = 0
        with file:
            with self._explain():
                header_bytes = _write_header(file, (max_images, *dims))
            for block in blocks:
                with self._explain():
                    file.write(np.ascontiguousarray(block).data)
                count += len(block)
            with self._explain():
                self._complete(file, (count, *dims), header_bytes)
        return np.load(file.name, mmap_mode="r") if count else np.empty((0, *dims))

    def _complete(self, file: BinaryIO, shape: tuple[int, ...], header_bytes: int) -> None:
        """Write the header again, with the number of images that could be decoded."""
        file.seek(0)
        # numpy pads the header, so the smaller count does not move the pixels
        if _write_header(file, shape) != header_bytes:
            raise PinxitError("numpy's header changed its length; please report this.")
        file.flush()
        os.fsync(file.fileno())

    def commit(self, images: Images) -> None:
        """Write everything but the pixels, and rename the folder to its final name."""
        with self._explain():
            self._write(images)
            self._rename()
        with contextlib.suppress(OSError):  # it is done all the same
            root = self.folder.parent
            enforce_max_size(root, read_max_size(root), keep=self.folder)

    def _write(self, images: Images) -> None:
        info = {
            "version": VERSION,
            "source": self.source,
            "names": list(images.names),
            "has_labels": images.labels is not None,
            "has_groups": images.groups is not None,
            "label_names": list(images.label_names),
            "captions": {language: list(texts) for language, texts in images.captions.items()},
            "more_captions": {k: list(texts) for k, texts in images.more_captions.items()},
            "keywords": {k: list(texts) for k, texts in images.keywords.items()},
            "fingerprint": images.fingerprint,
            "skipped": [dataclasses.asdict(file) for file in images.skipped],
            "file_counts": images.file_counts,
            "notes": list(images.notes),
            "losses": list(images.losses),
            "conversion": images.conversion,
        }
        if images.labels is not None:
            _save(self.temporary / "labels.npy", images.labels)
        if images.splits is not None:
            _save(self.temporary / "splits.npy", images.splits)
        if images.groups is not None:
            _save(self.temporary / "groups.npy", images.groups)
        with (self.temporary / "info.json").open("w", encoding="utf-8") as file:
            json.dump(info, file)  # as ASCII: file names need not be valid Unicode
            file.flush()
            os.fsync(file.fileno())

    def _rename(self) -> None:
        self._lock.release()
        (self.temporary / LOCK_FILE).unlink(missing_ok=True)
        for _ in range(3):
            try:
                self.temporary.rename(self.folder)
                return
            except OSError:  # the folder exists: from another process, or it is damaged
                if load_cached(self.folder.name) is not None:
                    return
                shutil.rmtree(self.folder, ignore_errors=True)
        raise PinxitError(f"cannot write {self.folder}; remove it and try again.")

    def _check_free_space(self, required: int) -> None:
        free = shutil.disk_usage(self.temporary).free
        if required > free:
            raise PinxitError(
                f"the decoded images take {required / 2**30:.1f} GiB, but {self.folder.parent} has "
                f"{free / 2**30:.1f} GiB free. Use a smaller --size or a --limit, free some space "
                "(pinxit cache --clear) or set PINXIT_CACHE to another folder."
            )


def _write_header(file: BinaryIO, shape: tuple[int, ...]) -> int:
    """Write the header of a `.npy` file of uint8, and return its length in bytes."""
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.tell()


def _save(path: Path, array: np.ndarray) -> None:
    with path.open("wb") as file:
        np.save(file, array)
        file.flush()
        os.fsync(file.fileno())
