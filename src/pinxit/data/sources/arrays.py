"""NumPy files: `.npz` with `images` and optionally labels, splits and captions, or `.npy`."""

from __future__ import annotations

import functools
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pinxit.data.captions import caption_columns
from pinxit.data.groups import group_columns, parse_group
from pinxit.data.records import Record, Source, SourceType, hash_files
from pinxit.data.splits import parse_split
from pinxit.errors import PinxitError

# names of arrays, in order of preference
IMAGE_KEYS = ("images", "image", "x", "pixels", "arr_0")
LABEL_KEYS = ("labels", "label", "y")
SPLIT_KEYS = ("split", "splits")


def open_array_file(data: str, seed: int) -> Source | None:
    path = Path(data).expanduser()
    if path.suffix.lower() not in (".npz", ".npy") or not path.is_file():
        return None

    def with_groups(group_by: str) -> Source:
        return Source(
            data,
            lambda: hash_files(path.parent, [path]),
            lambda: _list_records(path, group_by),
            with_groups=with_groups,
        )

    return with_groups("auto")


def _list_records(path: Path, group_by: str) -> Iterator[Record]:
    if path.suffix.lower() == ".npy":
        yield from _list_part(path, {"images": _load(path)}, "", group_by)
        return
    arrays = _load(path)
    # Keras has `x_train, y_train, x_test, y_test`
    parts = [part for part in ("train", "validation", "test") if f"x_{part}" in arrays]
    for part in parts:
        part_arrays = {"images": arrays[f"x_{part}"], "labels": arrays.get(f"y_{part}")}
        yield from _list_part(path, part_arrays, part, group_by)
    if not parts:
        yield from _list_part(path, arrays, "", group_by)


def _load(path: Path) -> Any:
    try:
        if path.suffix.lower() == ".npy":
            return np.load(path, mmap_mode="r", allow_pickle=False)
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        # numpy takes a file of an unknown format for pickled objects
        reason = "it contains Python objects, or it" if "allow_pickle" in str(error) else "it"
        raise PinxitError(f"{path} cannot be read: {reason} is damaged.") from None
    except OSError as error:
        raise PinxitError(f"{path} cannot be opened: {error.strerror or error}.") from None


def _list_part(path: Path, arrays: Mapping[str, Any], part: str, group_by: str) -> Iterator[Record]:
    """Yield the records of arrays of a file; `part` names their split, or is ""."""
    images = _first(arrays, IMAGE_KEYS)
    if images is None:
        raise PinxitError(
            f"{path} has no array `images`; it has: {', '.join(arrays) or 'no arrays'}."
        )
    pixels = check_images(images, path)
    labels = _column(path, arrays, LABEL_KEYS, len(pixels))
    splits = _column(path, arrays, SPLIT_KEYS, len(pixels))
    groups = {
        name: column.tolist()
        for name in group_columns(group_by)
        if (column := _column(path, arrays, (name,), len(pixels))) is not None
    }
    captions = {
        language: _column(path, arrays, (column,), len(pixels))
        for language, column in caption_columns(arrays).items()
    }
    for i in range(len(pixels)):
        label, label_index = _label(labels, i)
        yield Record(
            f"{part}-{i:06d}" if part else f"{i:06d}",
            functools.partial(pixels.__getitem__, i),
            label=label,
            label_index=label_index,
            captions={k: str(v[i]) for k, v in captions.items() if v is not None and v[i]},
            split=part or (None if splits is None else parse_split(str(splits[i]))),
            group=parse_group({name: column[i] for name, column in groups.items()}, group_by),
        )


def _first(arrays: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((arrays[name] for name in names if arrays.get(name) is not None), None)


def _column(
    path: Path, arrays: Mapping[str, Any], names: Sequence[str], count: int
) -> np.ndarray | None:
    """Return the array with one value per image, or None. Raises PinxitError for another shape."""
    column = _first(arrays, names)
    if column is None:
        return None
    column = np.asarray(column)
    if column.shape not in ((count,), (count, 1)):
        raise PinxitError(
            f"{path}: `{names[0]}` has shape {list(column.shape)}, but there are {count:,} images."
        )
    return column.reshape(count)


def _label(labels: np.ndarray | None, i: int) -> tuple[str | None, int | None]:
    """Return an image's label, as a name or as a number."""
    if labels is None:
        return None, None
    return (None, int(labels[i])) if labels.dtype.kind in "iub" else (str(labels[i]), None)


def check_images(images: np.ndarray, path: Path) -> np.ndarray:
    """Return images as numbers `[n, height, width]` or `[n, height, width, channel]`.

    Channels may come first. Raises PinxitError for arrays of other shapes or types.
    """
    if images.ndim == 4 and images.shape[1] in (1, 3) and images.shape[3] not in (1, 3, 4):
        images = images.transpose(0, 2, 3, 1)
    if not (images.ndim == 3 or (images.ndim == 4 and images.shape[3] in (1, 3, 4))):
        raise PinxitError(
            f"{path}: images must be [n, height, width] or [n, height, width, 1, 3 or 4], "
            f"not {list(images.shape)}."
        )
    if images.dtype.kind not in "buif" or images.size == 0:
        raise PinxitError(f"{path}: images must be numbers, not {images.dtype}.")
    return images


SOURCE_TYPE = SourceType(
    pattern="FILE.npz, FILE.npy",
    description="NumPy arrays: images [n, h, w] or [n, h, w, c]; optionally labels, split, "
    "caption_en, caption_fr.",
    examples=("omniglot28.npz", "samples.npy"),
    open=open_array_file,
)
