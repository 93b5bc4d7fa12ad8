"""Decoded images on disk: one folder a source and settings, written whole or not at all.

    pixels.npy    uint8 [n, height, width, channel], read as a memory map
    labels.npy    int64 [n], where there are labels
    splits.npy    int8 [n]
    facts.json    names, captions, label names, notes, what was left out, the fingerprint

The folder is written under another name and renamed, so that one that exists is whole; of two
processes that make the same one, the first to finish wins and the other uses what it made.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from pinxit.data.images import Images, SkippedFile
from pinxit.errors import PinxitError

VERSION = 2  # raised when decoding or the folder's form changes, so that old ones are not read
STALE = 24 * 3600  # seconds after which a half-written folder is some killed process's


def cache_dir() -> Path:
    """`$PINXIT_CACHE`, else `pinxit` in the user's cache folder as XDG has it."""
    if own := os.environ.get("PINXIT_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pinxit"


def cache_key(*parts: object) -> str:
    """A folder's name for a source's key and the settings."""
    return hashlib.blake2b(repr((VERSION, *parts)).encode(), digest_size=12).hexdigest()


def load_cached(key: str) -> Images | None:
    """The images kept under a key, pixels memory-mapped; None where there are none, or no whole
    ones."""
    folder = cache_dir() / key
    try:
        facts = json.loads((folder / "facts.json").read_text())
        pixels = np.load(folder / "pixels.npy", mmap_mode="r")
        labels = np.load(folder / "labels.npy") if facts["labelled"] else None
        splits = np.load(folder / "splits.npy")
    except (OSError, ValueError, KeyError, EOFError):
        return None
    if len(pixels) != len(facts["names"]) or len(splits) != len(pixels):
        return None
    return Images(
        pixels,
        names=facts["names"],
        labels=labels,
        label_names=tuple(facts["label_names"]),
        captions=facts["captions"],
        splits=splits,
        fingerprint=facts["fingerprint"],
        skipped=tuple(SkippedFile(*pair) for pair in facts["skipped"]),
        notes=tuple(facts["notes"]),
    )


class CacheWriter:
    """A folder of the cache being written; a context that removes what was not kept."""

    def __init__(self, key: str) -> None:
        self.final = cache_dir() / key
        try:
            self.final.parent.mkdir(parents=True, exist_ok=True)
            _sweep(self.final.parent)
            self.part = Path(
                tempfile.mkdtemp(prefix=f".{key}.", suffix=".part", dir=self.final.parent)
            )
        except OSError as error:
            raise PinxitError(
                f"decoded images cannot be kept in {self.final.parent}: {error.strerror}. "
                "PINXIT_CACHE may name another folder."
            ) from None

    def __enter__(self) -> CacheWriter:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.part, ignore_errors=True)

    def write_pixels(
        self, blocks: Iterable[np.ndarray], expected: int, shape: tuple[int, int, int]
    ) -> np.ndarray:
        """Write blocks `[k, height, width, channel]` one after another; the memory map of all.

        `expected` is how many images may come; fewer do where some cannot be decoded.
        """
        self._check_room(expected * int(np.prod(shape)))
        count = 0
        with (self.part / "pixels.npy").open("wb") as file:
            header = _write_header(file, (expected, *shape))
            for block in blocks:
                file.write(np.ascontiguousarray(block).data)
                count += len(block)
            file.seek(0)
            # numpy leaves room for the count to change, so the pixels stay where they are
            if _write_header(file, (count, *shape)) != header:
                raise PinxitError("numpy's header changed its length; please report this.")
            file.flush()
            os.fsync(file.fileno())
        return np.load(self.part / "pixels.npy", mmap_mode="r") if count else np.empty((0, *shape))

    def keep(self, images: Images) -> None:
        """Write what is known beside the pixels, and give the folder its name."""
        facts = {
            "names": list(images.names),
            "labelled": images.labels is not None,
            "label_names": list(images.label_names),
            "captions": {k: list(v) for k, v in images.captions.items()},
            "fingerprint": images.fingerprint,
            "skipped": [[left.name, left.reason] for left in images.skipped],
            "notes": list(images.notes),
        }
        if images.labels is not None:
            _save(self.part / "labels.npy", images.labels)
        if images.splits is not None:
            _save(self.part / "splits.npy", images.splits)
        with (self.part / "facts.json").open("w") as file:
            json.dump(facts, file)  # ASCII, so that names that are no Unicode survive
            file.flush()
            os.fsync(file.fileno())
        self._rename()

    def _rename(self) -> None:
        for _ in range(3):
            try:
                self.part.rename(self.final)
                return
            except OSError:  # there is one: another process's, whole, or one that was damaged
                if load_cached(self.final.name) is not None:
                    return
                shutil.rmtree(self.final, ignore_errors=True)
        raise PinxitError(f"{self.final} cannot be written; remove it and try again.")

    def _check_room(self, wanted: int) -> None:
        free = shutil.disk_usage(self.part).free
        if wanted > free:
            raise PinxitError(
                f"decoded, these images take {wanted / 2**30:.1f} GiB; "
                f"{self.final.parent} has {free / 2**30:.1f} free. A smaller --size or a --limit "
                "takes less; PINXIT_CACHE may name another folder."
            )


def _write_header(file: BinaryIO, shape: tuple[int, ...]) -> int:
    described = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, described)
    return file.tell()


def _save(path: Path, array: np.ndarray) -> None:
    with path.open("wb") as file:
        np.save(file, array)
        file.flush()
        os.fsync(file.fileno())


def _sweep(root: Path) -> None:
    for part in root.glob(".*.part"):
        try:
            if time.time() - part.stat().st_mtime > STALE:
                shutil.rmtree(part, ignore_errors=True)
        except OSError:  # another process swept it
            continue
