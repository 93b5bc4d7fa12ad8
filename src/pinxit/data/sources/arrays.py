"""NumPy files: `.npz` with `images` and optionally labels, splits and captions, or `.npy`."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pinxit.data.home_folder import expand_home
from pinxit.data.imagefolder.tables import normalize_column
from pinxit.data.records import Note, Record, Source, SourceType, hash_files
from pinxit.data.shards.files import splits_of_shards
from pinxit.data.shards.rows import RowReader
from pinxit.data.splits import parse_split
from pinxit.errors import PinxitError

# names of arrays, in order of preference
IMAGE_KEYS = ("images", "image", "x", "pixels", "imgs", "img", "data", "arr_0")
LABEL_KEYS = ("labels", "label", "y", "targets", "target")


def open_array_file(data: str, seed: int) -> Source | None:
    path = expand_home(data)
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


def _list_records(path: Path, group_by: str) -> Iterator[Record | Note]:
    rows = RowReader(group_by, label_columns=LABEL_KEYS)
    (file_split,), notes = splits_of_shards(path.parent, [path])
    loaded = _load(path)
    parts, others = _separate_parts(loaded if isinstance(loaded, dict) else {"images": loaded})
    rows.unused |= dict.fromkeys(others)
    for part, arrays in parts.items():
        yield from _list_part(path, arrays, part, file_split, rows)
    yield from map(Note, notes)
    yield from rows.list_notes()


Arrays = dict[str, np.ndarray]


def _separate_parts(arrays: Arrays) -> tuple[dict[str, Arrays], Arrays]:
    """Return the arrays of each split, by names without the split, and those of no images.

    Without splits all are those of the split "".

    Keras has `x_train, y_train, x_test, y_test`, MedMNIST `train_images, train_labels, ...`.
    """
    parts: dict[str, Arrays] = {}
    for name, array in arrays.items():
        base, split = _split_name(name)
        parts.setdefault(split, {})[base] = array
    parts = {split: part for split, part in parts.items() if _first(part, IMAGE_KEYS)}
    if set(parts) <= {""}:
        return {"": arrays}, {}
    used = {id(array) for part in parts.values() for array in part.values()}
    return parts, {name: array for name, array in arrays.items() if id(array) not in used}


def _split_name(name: str) -> tuple[str, str]:
    """Return the name of an array without its split, and the split, or "".

    >>> _split_name("x_train"), _split_name("val_images"), _split_name("images")
    (('x', 'train'), ('images', 'validation'), ('images', ''))
    """
    first, _, rest = name.partition("_")
    start, _, last = name.rpartition("_")
    for word, base in ((last, start), (first, rest)):
        if base and (split := parse_split(word)):
            return base, split
    return name, ""


def _load(path: Path) -> Any:
    try:
        # what a file is, its content says, whatever its suffix
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded as arrays:
            return {name: arrays[name] for name in arrays.files}
    except OSError as error:
        raise PinxitError(f"{path} cannot be opened: {error.strerror or error}.") from None
    except Exception as error:  # numpy parses the header as Python: tokenize, ast and zlib raise
        # numpy takes a file of an unknown format for pickled objects
        reason = "it contains Python objects, or it" if "allow_pickle" in str(error) else "it"
        raise PinxitError(f"{path} cannot be read: {reason} is damaged.") from None


def _list_part(
    path: Path, arrays: Arrays, part: str, file_split: str | None, rows: RowReader
) -> Iterator[Record]:
    """Yield the records of arrays of a file; `part` names their split, or is ""."""
    image_name = _first(arrays, IMAGE_KEYS)
    if image_name is None:
        raise PinxitError(
            f"{path} has no array `images`; it has: {', '.join(arrays) or 'no arrays'}."
        )
    pixels = check_images(arrays[image_name], path)
    used = rows.select_columns(normalize_column(name) for name in arrays if name != image_name)
    columns = {
        column: _column(path, name, array, len(pixels))
        for name, array in arrays.items()
        if (column := normalize_column(name)) in used
    }
    for i in range(len(pixels)):
        fields = rows.read({name: values[i] for name, values in columns.items()})
        fields["split"] = part or fields["split"] or file_split
        name = f"{part}-{i:06d}" if part else f"{i:06d}"
        yield Record(name, functools.partial(pixels.__getitem__, i), file=path, **fields)


def _first(arrays: Mapping[str, Any], names: Sequence[str]) -> str | None:
    """Return the first of the names that an array has, as it is spelled there."""
    spelled = {name.lower(): name for name in arrays}
    return next((spelled[name] for name in names if name in spelled), None)


def _column(path: Path, name: str, array: np.ndarray, count: int) -> list[Any]:
    """Return one value per image, or a list of captions. Raises PinxitError for another shape."""
    array = np.asarray(array)
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8", "replace")
    has_texts = array.dtype.kind == "U" and array.ndim == 2
    if array.shape[:1] != (count,) or not (array.size == count or has_texts):
        raise PinxitError(
            f"{path}: `{name}` has shape {list(array.shape)}, but there are {count:,} images."
        )
    return (array.reshape(count) if array.size == count else array).tolist()


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
    description="NumPy arrays: images [n, h, w] or [n, h, w, c]; optionally labels, split, group, "
    "caption_en, caption_fr, keywords. Or x_train, y_train, x_test, y_test.",
    examples=("omniglot28.npz", "samples.npy"),
    open=open_array_file,
)
