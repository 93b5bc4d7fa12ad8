"""A folder of IDX files, gzipped or plain: the format of MNIST and its relatives.

An IDX file has a magic number (0, 0, type, number of dimensions), the dimensions as big-endian
32-bit integers, and the values. yann.lecun.com/exdb/mnist
"""

from __future__ import annotations

import functools
import gzip
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pinxit.data.home_folder import expand_home
from pinxit.data.records import Note, Record, Source, SourceType, hash_files
from pinxit.data.shards.files import list_beside, splits_of_shards
from pinxit.errors import PinxitError

UINT8 = 8  # type code of unsigned bytes


def open_idx_folder(data: str, seed: int) -> Source | None:
    root = expand_home(data)
    return idx_folder(data, root) if has_idx_files(root) else None


def has_idx_files(root: Path) -> bool:
    """Return whether a path is a folder with IDX files of images."""
    return root.is_dir() and bool(_image_files(root))


def idx_folder(data: str, root: Path, label_names: Sequence[str] = ()) -> Source:
    """Return the source of a folder with `train-images-idx3-ubyte[.gz]` and so on.

    `label_names` are the names of the labels 0, 1, ...
    """
    images = _image_files(root)
    files = [file for image in images for file in (image, _labels_file(image)) if file]
    return Source(
        data,
        lambda: hash_files(root, files),
        lambda: _list_records(root, images, tuple(label_names)),
        list_unused=lambda: list_beside(root, files),
    )


def _image_files(root: Path) -> list[Path]:
    """Return the files of images, sorted; of a file and its gzipped copy, the plain one."""
    files = [*root.glob("*images*idx3-ubyte"), *root.glob("*images*idx3-ubyte.gz")]
    by_name = {file.name.removesuffix(".gz"): file for file in sorted(files, reverse=True)}
    return [by_name[name] for name in sorted(by_name)]


def _labels_file(images: Path) -> Path | None:
    stem = images.name.removesuffix(".gz").replace("images", "labels").replace("idx3", "idx1")
    for name in (stem, f"{stem}.gz"):
        if (file := images.with_name(name)).is_file():
            return file
    return None


def _list_records(
    root: Path, files: Sequence[Path], label_names: tuple[str, ...]
) -> Iterator[Record | Note]:
    splits, notes = splits_of_shards(root, files)
    yield from map(Note, notes)
    for file, split in zip(files, splits, strict=True):
        images = read_idx(file, 3)
        labels = _read_labels(file, len(images))
        part = file.name.split("-images")[0]
        for i, pixels in enumerate(images):
            label_index = None if labels is None else int(labels[i])
            has_name = label_index is not None and label_index < len(label_names)
            yield Record(
                f"{part}-{i:05d}",
                functools.partial(_identity, pixels),
                label=label_names[label_index] if has_name and label_index is not None else None,
                label_index=label_index,
                split=split,
                file=file,
            )


def _read_labels(images: Path, count: int) -> np.ndarray | None:
    file = _labels_file(images)
    if file is None:
        return None
    labels = read_idx(file, 1)
    if len(labels) != count:
        raise PinxitError(
            f"{file} has {len(labels):,} labels, but {images.name} has {count:,} images; "
            "download both again."
        )
    return labels


def read_idx(file: Path, dimensions: int) -> np.ndarray:
    """Read the uint8 array of an IDX file with that many dimensions.

    Raises PinxitError if the file is truncated, is not an IDX file, or contradicts its header.
    """
    content = _read(file)
    header_bytes = 4 + 4 * dimensions
    if len(content) < header_bytes or content[:2] != b"\0\0":
        raise PinxitError(f"{file} is not an IDX file; download it again.")
    if content[2] != UINT8 or content[3] != dimensions:
        raise PinxitError(
            f"{file}: its header says type {content[2]} with {content[3]} dimensions; "
            f"expected type {UINT8} (bytes) with {dimensions}."
        )
    shape = tuple(int(n) for n in np.frombuffer(content, ">u4", dimensions, offset=4))
    expected = int(np.prod(shape, dtype=object)) if shape else 0
    if expected != len(content) - header_bytes or expected == 0:
        raise PinxitError(
            f"{file}: its header says {' x '.join(f'{n:,}' for n in shape)} bytes, "
            f"but {len(content) - header_bytes:,} follow; download it again."
        )
    return np.frombuffer(content, np.uint8, offset=header_bytes).reshape(shape)


def _read(file: Path) -> bytes:
    try:
        content = file.read_bytes()
        return gzip.decompress(content) if file.suffix == ".gz" else content
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise PinxitError(f"{file} is truncated or damaged; download it again.") from None
    except OSError as error:
        raise PinxitError(f"{file} cannot be opened: {error.strerror}.") from None


def _identity(pixels: np.ndarray) -> np.ndarray:
    return pixels


SOURCE_TYPE = SourceType(
    pattern="FOLDER/ of *-idx3-ubyte[.gz]",
    description="IDX files of images and labels, gzipped or plain: the format of MNIST.",
    examples=("data/mnist/", "data/kmnist/"),
    open=open_idx_folder,
)
