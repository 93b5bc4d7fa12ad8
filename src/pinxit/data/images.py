"""`Images`: what sources provide, models generate and evaluators measure."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from pinxit.console import pluralize
from pinxit.data.atomic_write import write_atomically
from pinxit.data.batch import Batch, DatasetInfo
from pinxit.data.display import MAX_DISPLAYED, display_png
from pinxit.data.encoding import IMAGE_SUFFIXES, encode_image, to_pil
from pinxit.data.home_folder import expand_home
from pinxit.data.image_columns import (
    check_integers,
    check_label_names,
    check_labels,
    check_splits,
    check_text_columns,
    check_texts,
)
from pinxit.data.image_stream import ImageStream
from pinxit.data.skipped import SkippedFile as SkippedFile
from pinxit.data.split_names import NO_SPLIT as NO_SPLIT
from pinxit.data.split_names import SPLITS as SPLITS
from pinxit.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

GRID_IMAGE_PIXELS = 96  # small images are enlarged to about this size in a grid,
GRID_MAX_PIXELS = 1600  # as long as the grid does not get wider than this


def evenly_spaced_indices(count: int, max_count: int) -> np.ndarray:
    """Return at most `max_count` evenly spaced indices below `count`, both ends included."""
    return np.linspace(0, count - 1, min(count, max_count)).round().astype(int)


T = TypeVar("T")


def _take_texts(columns: Mapping[str, Sequence[T]], rows: np.ndarray) -> dict[str, Sequence[T]]:
    return {language: [column[int(i)] for i in rows] for language, column in columns.items()}


@dataclass(frozen=True)
class Images:
    """uint8 pixels `[n, height, width, channel]`, and what is known about each image.

    `pixels` may be memory-mapped: index rows instead of copying the whole array. In a notebook,
    `Images` are shown as a grid; `before` and after side by side.
    """

    pixels: np.ndarray
    names: Sequence[str] = ()  # one per image, unique; empty for generated images
    labels: np.ndarray | None = None  # int64 [n], -1 for none
    label_names: tuple[str, ...] = ()  # by default the numbers of the labels
    captions: dict[str, Sequence[str]] = field(default_factory=dict)  # by language; "" for none
    # by language: the captions of each image beyond the first one, for languages that have any
    more_captions: dict[str, Sequence[tuple[str, ...]]] = field(default_factory=dict)
    # by language: the keywords of each image, for languages that have any
    keywords: dict[str, Sequence[tuple[str, ...]]] = field(default_factory=dict)
    before: np.ndarray | None = None  # uint8 like pixels: each image before its edit
    splits: np.ndarray | None = None  # int8 [n], index into SPLITS, or NO_SPLIT
    groups: np.ndarray | None = None  # int64 [n], equal for images of one group, unique for others
    source: str = ""  # as the user typed it
    fingerprint: str = ""  # hash of everything that training uses; "" for generated images
    skipped: tuple[SkippedFile, ...] = ()
    # files of the source by role: images, metadata, captions, skipped; {} if images are no files
    file_counts: dict[str, int] = field(default_factory=dict)
    # load options by which values became pixels, as found for the set: range, background, resample
    conversion: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()  # choices made while loading, for the user
    losses: tuple[str, ...] = ()  # notes on values of the source that are not used
    columns: int | None = None  # of a grid of these images; None: chosen from their number
    # all images of the source, of which these are a sample; None: these are all
    stream: ImageStream | None = None

    def __post_init__(self) -> None:
        if self.pixels.ndim != 4 or self.pixels.dtype != np.uint8:
            raise UsageError(
                "Images need a uint8 array [n, height, width, channel], "
                f"not {self.pixels.dtype} {list(self.pixels.shape)}."
            )
        if self.before is not None and self.before.shape != self.pixels.shape:
            raise UsageError(
                f"`before` has shape {list(self.before.shape)}, "
                f"but `pixels` has shape {list(self.pixels.shape)}."
            )
        if self.before is not None and self.before.dtype != np.uint8:
            raise UsageError(f"`before` has uint8 pixels, not {self.before.dtype}.")
        self._check_columns()

    def _check_columns(self) -> None:
        """Raise UsageError for a column that has no entry, or none of its type, for an image."""
        n: int = len(self)
        columns: dict[str, Any] = {"label_names": check_label_names(self.label_names)}
        if not hasattr(self.names, "__len__") or len(self.names):
            check_texts("names", self.names, n)
        check_text_columns("captions", self.captions, n, several=False)
        check_text_columns("more_captions", self.more_captions, n, several=True)
        check_text_columns("keywords", self.keywords, n, several=True)
        if self.labels is not None:
            columns["labels"], columns["label_names"] = check_labels(
                self.labels, self.label_names, n
            )
        if self.splits is not None:
            columns["splits"] = check_splits(self.splits, n)
        if self.groups is not None:
            columns["groups"] = check_integers("groups", self.groups, n)
        for name, column in columns.items():
            object.__setattr__(self, name, column)

    def __repr__(self) -> str:
        parts = [
            pluralize(len(self), "image"),
            f"{self.width} x {self.height}",
            "grey" if self.channels == 1 else "RGB",
            *([pluralize(len(self.label_names), "label")] if self.label_names else []),
            *([f"captions in {' '.join(self.captions)}"] if self.captions else []),
        ]
        return f"Images({', '.join(parts)})"

    @property
    def height(self) -> int:
        return self.pixels.shape[1]

    @property
    def width(self) -> int:
        return self.pixels.shape[2]

    @property
    def channels(self) -> int:
        return self.pixels.shape[3]

    # -- select --------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.pixels)

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter(self.pixels)

    def __getitem__(self, index: int | slice | Sequence[int] | np.ndarray) -> Images:
        """Select images by slice, index array or boolean mask, or one image by its index."""
        rows = np.arange(len(self))[index]
        return self.take(np.atleast_1d(rows))

    def take(self, rows: np.ndarray) -> Images:
        """Select images by index, in this order, with everything that is known about them."""
        return dataclasses.replace(
            self,
            pixels=self.pixels[rows],
            names=[self.names[i] for i in rows] if len(self.names) else (),
            labels=None if self.labels is None else self.labels[rows],
            captions=_take_texts(self.captions, rows),
            more_captions=_take_texts(self.more_captions, rows),
            keywords=_take_texts(self.keywords, rows),
            before=None if self.before is None else self.before[rows],
            splits=None if self.splits is None else self.splits[rows],
            groups=None if self.groups is None else self.groups[rows],
            fingerprint=self._selection_fingerprint(rows),
            columns=None,
            stream=None,
        )

    def _selection_fingerprint(self, rows: np.ndarray) -> str:
        """Return the fingerprint of the images at `rows`: that of the set only if it is all."""
        if not self.fingerprint:
            return ""
        rows = np.arange(len(self))[rows]
        if self.stream is None and np.array_equal(rows, np.arange(len(self))):
            return self.fingerprint
        content = self.fingerprint.encode() + rows.astype("<i8").tobytes()
        return hashlib.blake2b(content, digest_size=16).hexdigest()

    def evenly_spaced(self, max_images: int | None) -> Images:
        """Select at most `max_images` images, evenly spaced; None selects all."""
        if max_images is None or len(self) <= max_images:
            return self
        return self.take(evenly_spaced_indices(len(self), max_images))

    def split(self, name: str) -> Images:
        """Select a split. Copies its pixels: for very large data use `split_indices`."""
        return self.take(self.split_indices(name))

    def split_indices(self, split: str) -> np.ndarray:
        """Return the indices of a split in `SPLITS`, or of `all`; without splits of all images."""
        if split == "all" or self.splits is None:
            return np.arange(len(self))
        if split not in SPLITS:
            raise UsageError(f"no split '{split}'; there are: {', '.join(SPLITS)}, all.")
        return np.flatnonzero(self.splits == SPLITS.index(split))

    def count_splits(self) -> dict[str, int]:
        """Return the number of images of each split, 0 included; {} for images without splits.

        Splits that only some sources have are counted only where they have images.
        """
        if self.splits is None:
            return {}
        counts = {name: int((self.splits == i).sum()) for i, name in enumerate(SPLITS)}
        return {name: n for name, n in counts.items() if n or "held-out" not in name}

    def count_training(self) -> int:
        """Return the number of training images, all those of a stream included."""
        return self.stream.count("train") if self.stream else len(self.split_indices("train"))

    @classmethod
    def concatenate(cls, parts: Iterable[Images]) -> Images:
        """Concatenate the pixels of `Images` of one size; drop labels, captions and names."""
        return cls(np.concatenate([part.pixels for part in parts]))

    # -- for models ----------------------------------------------------------------------------

    def batch(self, rows: np.ndarray) -> Batch:
        """Return images as tensors."""
        import torch  # loading and inspecting images works without it, and takes a second less

        pixels = torch.from_numpy(np.ascontiguousarray(self.pixels[rows]))
        labels = None if self.labels is None else torch.from_numpy(self.labels[rows])
        before = None if self.before is None else torch.from_numpy(np.array(self.before[rows]))
        return Batch(
            pixels,
            labels,
            captions=_take_texts(self.captions, rows),
            more_captions=_take_texts(self.more_captions, rows),
            keywords=_take_texts(self.keywords, rows),
            before=before,
        )

    def info(self, rows: np.ndarray | None = None, max_images: int = 4096) -> DatasetInfo:
        """Return size, channels, labels and statistics of the images, or of some rows of them.

        Pixel statistics are computed on about `max_images` images. The images of a stream count
        as its training images, of which the rows are a sample.
        """
        rows = np.arange(len(self)) if rows is None else rows
        if len(rows) == 0:
            raise UsageError("there are no images to train on.")
        sample = self.pixels[np.sort(rows[:: max(1, len(rows) // max_images)])]
        return DatasetInfo(
            num_images=self.stream.count("train") if self.stream else len(rows),
            height=self.height,
            width=self.width,
            channels=self.channels,
            label_names=self.label_names,
            binary_fraction=float(np.mean((sample == 0) | (sample == 255))),
            near_binary_fraction=float(np.mean((sample < 32) | (sample > 223))),
            mean=float(sample.mean() / 255),
            std=float(sample.std() / 255),
            languages=tuple(self.captions),
            conversion=self.conversion,
        )

    # -- for other libraries -------------------------------------------------------------------

    def numpy(self) -> UInt8[np.ndarray, "n height width channel"]:
        """Return the pixels as an array, without copying them."""
        return np.asarray(self.pixels)

    def tensor(self) -> Float32[Tensor, "n channel height width"]:
        """Return the pixels as a tensor of values from 0 to 1."""
        import torch

        pixels = torch.from_numpy(np.array(self.pixels)).permute(0, 3, 1, 2)
        return pixels.float().div_(255)

    def pil(self, index: int | None = None) -> Image.Image:
        """Return one image, by default the only one, as a Pillow image; a grid of several."""
        if index is None and len(self) != 1:
            return self.grid().pil()
        return to_pil(np.asarray(self.pixels[index or 0]))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Return `[n, height, width, channel]`; of one image `[height, width(, 3)]`.

        So that `plt.imshow`, `np.asarray` and Pillow take an image; `numpy()` always has all axes.
        """
        return np.array(self._as_array(), dtype=dtype, copy=copy)

    @property
    def __array_interface__(self) -> dict[str, Any]:
        """What `PIL.Image.fromarray` reads, see `__array__`."""
        array = self._as_array()
        interface = dict(array.__array_interface__)
        return interface | {"strides": array.strides}  # Pillow then calls `tobytes`

    def tobytes(self) -> bytes:
        """Return the pixels in C order."""
        return np.asarray(self.pixels).tobytes()

    def __dlpack__(self, **options: Any) -> Any:
        """What `torch.as_tensor` reads: shaped as `__array__`, but a copy."""
        return np.array(self._as_array()).__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._as_array().__dlpack_device__()

    def _as_array(self) -> np.ndarray:
        """Return the pixels; of one image without axes of length 1, as a view."""
        pixels = np.asarray(self.pixels)
        if len(self) != 1:
            return pixels
        return pixels[0, ..., 0] if self.channels == 1 else pixels[0]

    # -- show and save -------------------------------------------------------------------------

    def grid(self, columns: int | None = None, scale: int | None = None, gap: int = 2) -> Images:
        """Lay all images out in a grid, and return it as `Images` with one image.

        `scale` is an integer factor by which images are enlarged (default: chosen from their
        size); `gap` is the distance between them in pixels.
        """
        n, height, width, channels = self.pixels.shape
        if n == 0:
            raise UsageError("there are no images to lay out.")
        columns = columns or self.columns or max(1, round(math.sqrt(n * height / width)))
        columns = min(columns, n)
        rows = math.ceil(n / columns)
        scale = scale or max(
            1,
            min(
                round(GRID_IMAGE_PIXELS / max(height, width)),
                round(GRID_MAX_PIXELS / (columns * width)),
            ),
        )
        height, width = height * scale, width * scale
        grid_size = rows * (height + gap) + gap, columns * (width + gap) + gap
        grid = np.full((*grid_size, channels), self._gap_value(), np.uint8)
        for i, image in enumerate(self.pixels):
            top, left = gap + i // columns * (height + gap), gap + i % columns * (width + gap)
            enlarged = image.repeat(scale, 0).repeat(scale, 1)
            grid[top : top + height, left : left + width] = enlarged
        return Images(grid[None])

    def _gap_value(self) -> int:
        """White, but grey between images with white edges, so that their borders are visible."""
        edges = self.pixels[:, [0, -1]].ravel(), self.pixels[:, :, [0, -1]].ravel()
        return 200 if float(np.median(np.concatenate(edges))) > 250 else 255

    def to_png(self) -> bytes:
        """Return the image, or a grid of all images, as the bytes of a PNG file."""
        return encode_image(self.pil())

    def save(self, path: str | Path) -> Path:
        """Save the image, or a grid of all images; or as `.npy` the array of pixels.

        Grids are saved as `.png`, `.jpg` or `.webp`.
        """
        path = expand_home(path)
        if path.suffix.lower() == ".npy":
            return write_atomically(path, self._to_npy())
        if path.suffix.lower() not in IMAGE_SUFFIXES:
            known = ", ".join(IMAGE_SUFFIXES)
            raise UsageError(f"images are saved as {known} or .npy, not '{path.suffix}': {path}")
        return write_atomically(path, encode_image(self.pil(), path.suffix))

    def _to_npy(self) -> bytes:
        with io.BytesIO() as file:
            np.save(file, np.asarray(self.pixels))
            return file.getvalue()

    def _repr_png_(self) -> bytes | None:
        """Return what a notebook shows: at most 64 images, each beside the one before its edit."""
        if len(self) == 0:
            return None
        rows = evenly_spaced_indices(len(self), MAX_DISPLAYED)
        before = None if self.before is None else np.asarray(self.before[rows])
        columns = self.columns if len(rows) == len(self) else None
        return display_png(np.asarray(self.pixels[rows]), before, len(self), columns)
