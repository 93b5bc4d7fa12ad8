"""The MNIST family's own format: a folder of IDX files, gzipped or plain.

An IDX file is a magic number (0, 0, type, number of dimensions), the dimensions as big-endian
32-bit integers, and the values. yann.lecun.com/exdb/mnist
"""

from __future__ import annotations

import functools
import gzip
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pinxit.data.records import Kind, Record, Source, file_key
from pinxit.data.splits import split_from_filename
from pinxit.errors import PinxitError

_UINT8 = 8  # the type that images and labels have


def find(text: str, seed: int) -> Source | None:
    root = Path(text).expanduser()
    return idx_folder(text, root) if root.is_dir() and _image_files(root) else None


def idx_folder(text: str, root: Path, label_names: Sequence[str] = ()) -> Source:
    """The images of a folder with `train-images-idx3-ubyte[.gz]` and its companions."""
    images = _image_files(root)
    files = [file for image in images for file in (image, _labels_file(image)) if file]
    return Source(
        text, lambda: file_key(root, files), lambda: _records(text, images, tuple(label_names))
    )


def _image_files(root: Path) -> list[Path]:
    named = [*root.glob("*images*idx3-ubyte"), *root.glob("*images*idx3-ubyte.gz")]
    plain = {file.name.removesuffix(".gz"): file for file in sorted(named, reverse=True)}
    return [plain[name] for name in sorted(plain)]  # of a file and its gzip, one


def _labels_file(images: Path) -> Path | None:
    stem = images.name.removesuffix(".gz").replace("images", "labels").replace("idx3", "idx1")
    for name in (stem, f"{stem}.gz"):
        if (file := images.with_name(name)).is_file():
            return file
    return None


def _records(text: str, files: Sequence[Path], label_names: tuple[str, ...]) -> Iterator[Record]:
    for file in files:
        images = read_idx(file, 3)
        labels = _labels(file, len(images))
        part = file.name.split("-images")[0]
        for i, pixels in enumerate(images):
            rank = None if labels is None else int(labels[i])
            known = rank is not None and rank < len(label_names)
            yield Record(
                f"{part}-{i:05d}",
                functools.partial(_same, pixels),
                label=label_names[rank] if known and rank is not None else None,
                rank=rank,
                split=split_from_filename(part),
            )


def _labels(images: Path, count: int) -> np.ndarray | None:
    file = _labels_file(images)
    if file is None:
        return None
    labels = read_idx(file, 1)
    if len(labels) != count:
        raise PinxitError(
            f"{file} has {len(labels):,} labels for the {count:,} images of {images.name}; "
            "fetch both again."
        )
    return labels


def read_idx(file: Path, dimensions: int) -> np.ndarray:
    """The uint8 array that an IDX file holds, of that many dimensions.

    Raises PinxitError where the file is cut off, is no IDX file, or its header lies.
    """
    content = _content(file)
    head = 4 + 4 * dimensions
    if len(content) < head or content[:2] != b"\0\0":
        raise PinxitError(f"{file} is no IDX file: it does not begin as one. Fetch it again.")
    if content[2] != _UINT8 or content[3] != dimensions:
        raise PinxitError(
            f"{file}: its header says type {content[2]} in {content[3]} dimensions; "
            f"images and labels are bytes (type 8) in 3 and 1, and this should have {dimensions}."
        )
    shape = tuple(int(n) for n in np.frombuffer(content, ">u4", dimensions, offset=4))
    wanted = int(np.prod(shape, dtype=object)) if shape else 0
    if wanted != len(content) - head or wanted == 0:
        raise PinxitError(
            f"{file}: its header says {' x '.join(f'{n:,}' for n in shape)} bytes, "
            f"but {len(content) - head:,} follow it. Fetch it again."
        )
    return np.frombuffer(content, np.uint8, offset=head).reshape(shape)


def _content(file: Path) -> bytes:
    try:
        content = file.read_bytes()
        return gzip.decompress(content) if file.suffix == ".gz" else content
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise PinxitError(f"{file} is truncated or damaged; fetch it again.") from None
    except OSError as error:
        raise PinxitError(f"{file} cannot be opened: {error.strerror}.") from None


def _same(pixels: np.ndarray) -> np.ndarray:
    return pixels


KIND = Kind(
    data="FOLDER/ of *-idx3-ubyte[.gz]",
    says="The MNIST family's own files: images and labels, gzipped or plain.",
    examples=("data/mnist/", "data/kmnist/"),
    find=find,
)
