"""NumPy files: `.npz` with `images` and maybe `labels` and `split`, or a `.npy` of pixels."""

from __future__ import annotations

import functools
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pinxit.data.captions import caption_columns
from pinxit.data.records import Kind, Record, Source, file_key
from pinxit.data.splits import parse_split
from pinxit.errors import PinxitError

IMAGES = ("images", "image", "x", "pixels", "arr_0")
LABELS = ("labels", "label", "y")
SPLIT = ("split", "splits")


def find(text: str, seed: int) -> Source | None:
    path = Path(text).expanduser()
    if path.suffix.lower() not in (".npz", ".npy") or not path.is_file():
        return None
    return array_file(text, path)


def array_file(text: str, path: Path, label_names: Sequence[str] = ()) -> Source:
    """The images of a `.npz` or `.npy`; `label_names` names the classes of its numbers."""

    def records() -> Iterator[Record]:
        return _records(path, tuple(label_names))

    return Source(text, lambda: file_key(path.parent, [path]), records)


def _records(path: Path, label_names: tuple[str, ...]) -> Iterator[Record]:
    if path.suffix.lower() == ".npy":
        yield from _part(path, {"images": _load(path)}, "", label_names)
        return
    arrays = _load(path)
    # Keras has `x_train, y_train, x_test, y_test`
    parts = [part for part in ("train", "validation", "test") if f"x_{part}" in arrays]
    for part in parts:
        named = {"images": arrays[f"x_{part}"], "labels": arrays.get(f"y_{part}")}
        yield from _part(path, named, part, label_names)
    if not parts:
        yield from _part(path, arrays, "", label_names)


def _load(path: Path) -> Any:
    try:
        if path.suffix.lower() == ".npy":
            return np.load(path, mmap_mode="r", allow_pickle=False)
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        reason = "it holds Python objects" if "allow_pickle" in str(error) else "it is damaged"
        raise PinxitError(f"{path} cannot be read: {reason}. Arrays of numbers can.") from None
    except OSError as error:
        raise PinxitError(f"{path} cannot be opened: {error.strerror or error}.") from None


def _part(
    path: Path, arrays: Mapping[str, Any], part: str, label_names: tuple[str, ...]
) -> Iterator[Record]:
    images = _first(arrays, IMAGES)
    if images is None:
        raise PinxitError(f"{path} has no `images`; it has: {', '.join(arrays) or 'nothing'}.")
    pixels = as_pixels(images, path)
    labels = _column(path, arrays, LABELS, len(pixels))
    splits = _column(path, arrays, SPLIT, len(pixels))
    captions = {
        language: _column(path, arrays, (column,), len(pixels))
        for language, column in caption_columns(arrays).items()
    }
    for i in range(len(pixels)):
        label, rank = _label(labels, i, label_names)
        yield Record(
            f"{part}-{i:06d}" if part else f"{i:06d}",
            functools.partial(pixels.__getitem__, i),
            label=label,
            rank=rank,
            captions={k: str(v[i]) for k, v in captions.items() if v is not None and v[i]},
            split=part or (None if splits is None else parse_split(str(splits[i]))),
        )


def _first(arrays: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((arrays[name] for name in names if arrays.get(name) is not None), None)


def _column(
    path: Path, arrays: Mapping[str, Any], names: Sequence[str], count: int
) -> np.ndarray | None:
    column = _first(arrays, names)
    if column is None:
        return None
    column = np.asarray(column)
    if column.shape not in ((count,), (count, 1)):
        raise PinxitError(
            f"{path}: `{names[0]}` has the shape {list(column.shape)} for {count:,} images."
        )
    return column.reshape(count)


def _label(
    labels: np.ndarray | None, i: int, label_names: tuple[str, ...]
) -> tuple[str | None, int | None]:
    if labels is None:
        return None, None
    if labels.dtype.kind in "iub":
        rank = int(labels[i])
        return (label_names[rank] if 0 <= rank < len(label_names) else None), rank
    return str(labels[i]), None


def as_pixels(images: np.ndarray, path: Path | str = "the array") -> np.ndarray:
    """Images as uint8 `[n, h, w]` or `[n, h, w, c]`, from any of the usual forms.

    Channels may come first; floats run from 0 to 1 or to 255, 16-bit integers over their range.
    Raises PinxitError for what cannot be images.
    """
    if images.ndim == 4 and images.shape[1] in (1, 3) and images.shape[3] not in (1, 3, 4):
        images = images.transpose(0, 2, 3, 1)
    if not (images.ndim == 3 or (images.ndim == 4 and images.shape[3] in (1, 3, 4))):
        raise PinxitError(
            f"{path}: images are [n, height, width] or [n, height, width, 1, 3 or 4], "
            f"not {list(images.shape)}."
        )
    if images.dtype == np.uint8:
        return images
    if images.dtype == np.bool_:
        return images.astype(np.uint8) * 255
    if images.dtype == np.uint16:
        return np.rint(images / 257).astype(np.uint8)
    if images.dtype.kind not in "iuf" or images.size == 0:
        raise PinxitError(f"{path}: images are numbers, not {images.dtype}.")
    low, high = float(images.min()), float(images.max())
    if not (low >= 0 and high <= 255):
        raise PinxitError(
            f"{path}: values run from {low:g} to {high:g}; images run from 0 to 1 or to 255."
        )
    scale = 255 if images.dtype.kind == "f" and high <= 1 else 1
    return np.rint(images * scale).astype(np.uint8)


KIND = Kind(
    data="FILE.npz, FILE.npy",
    says="NumPy arrays: images [n, h, w] or [n, h, w, c], and maybe labels, split and captions.",
    examples=("omniglot28.npz", "samples.npy"),
    find=find,
)
