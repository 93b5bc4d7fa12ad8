"""`Images`: the one thing that sources give, models make and evaluators measure."""

from __future__ import annotations

import dataclasses
import io
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pinxit.data.batch import Batch, DatasetInfo
from pinxit.errors import UsageError

if TYPE_CHECKING:
    from PIL import Image

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class SkippedFile:
    """An image that a source could not give, and why."""

    name: str
    reason: str


def evenly_spaced_indices(count: int, max_count: int) -> np.ndarray:
    """At most `max_count` evenly spaced indices below `count`, the first and last included."""
    return np.linspace(0, count - 1, min(count, max_count)).round().astype(int)


@dataclass(frozen=True)
class Images:
    """uint8 pixels `[n, height, width, channel]`, with what is known of each image.

    `pixels` may be a memory-mapped array: take rows by index rather than copying it whole.
    Lays itself out as a grid, saves itself, and shows itself in a notebook.
    """

    pixels: np.ndarray
    names: Sequence[str] = ()  # of each image, unique; empty for images that a model made
    labels: np.ndarray | None = None  # int64 [n], -1 where an image has none
    label_names: tuple[str, ...] = ()
    captions: dict[str, Sequence[str]] = field(default_factory=dict)  # language -> caption of each
    before: np.ndarray | None = None  # uint8 as pixels: what each was made from, by its caption
    splits: np.ndarray | None = None  # int8 [n], index into SPLITS
    source: str = ""  # as the user named it
    fingerprint: str = ""  # of the source's content and the settings; "" for made images
    skipped: tuple[SkippedFile, ...] = ()
    notes: tuple[str, ...] = ()  # choices made in reading the source, for people

    def __post_init__(self) -> None:
        if self.pixels.ndim != 4 or self.pixels.dtype != np.uint8:
            raise UsageError(
                "Images need a uint8 array [n, height, width, channel], "
                f"not {self.pixels.dtype} {list(self.pixels.shape)}."
            )
        if self.before is not None and self.before.shape != self.pixels.shape:
            raise UsageError(
                f"the images before are {list(self.before.shape)}, those after "
                f"{list(self.pixels.shape)}."
            )

    def __len__(self) -> int:
        return len(self.pixels)

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter(self.pixels)

    def __getitem__(self, index: Any) -> Images:
        """Some of the images, by slice, index array or mask; one by its number."""
        rows = np.arange(len(self))[index]
        return self.take(np.atleast_1d(rows))

    def take(self, rows: np.ndarray) -> Images:
        """The images with these numbers, in this order, with all that is known of them."""
        return dataclasses.replace(
            self,
            pixels=self.pixels[rows],
            names=[self.names[i] for i in rows] if len(self.names) else (),
            labels=None if self.labels is None else self.labels[rows],
            captions={k: [v[i] for i in rows] for k, v in self.captions.items()},
            before=None if self.before is None else self.before[rows],
            splits=None if self.splits is None else self.splits[rows],
        )

    def evenly_spaced(self, max_images: int | None) -> Images:
        """At most `max_images` of the images, evenly spaced over all; None keeps all."""
        if max_images is None or len(self) <= max_images:
            return self
        return self.take(evenly_spaced_indices(len(self), max_images))

    def split_indices(self, split: str) -> np.ndarray:
        """Numbers of the images in one split: `train`, `validation`, `test` or `all`."""
        if split == "all" or self.splits is None:
            return np.arange(len(self))
        if split not in SPLITS:
            raise UsageError(f"no split '{split}'; there are: {', '.join(SPLITS)}, all.")
        return np.flatnonzero(self.splits == SPLITS.index(split))

    def split(self, name: str) -> Images:
        """The images of one split. Copies them: use `rows_of` on arrays larger than memory."""
        return self.take(self.split_indices(name))

    @property
    def height(self) -> int:
        return self.pixels.shape[1]

    @property
    def width(self) -> int:
        return self.pixels.shape[2]

    @property
    def channels(self) -> int:
        return self.pixels.shape[3]

    def batch(self, rows: np.ndarray) -> Batch:
        """These rows as tensors, for a model."""
        import torch

        pixels = torch.from_numpy(np.ascontiguousarray(self.pixels[rows]))
        labels = None if self.labels is None else torch.from_numpy(self.labels[rows])
        captions = {name: [texts[int(i)] for i in rows] for name, texts in self.captions.items()}
        before = None if self.before is None else torch.from_numpy(np.array(self.before[rows]))
        return Batch(pixels, labels, captions, before)

    def info(self, rows: np.ndarray | None = None, look_at: int = 4096) -> DatasetInfo:
        """What a model must know of these images; pixel statistics from `look_at` of them."""
        rows = np.arange(len(self)) if rows is None else rows
        if len(rows) == 0:
            raise UsageError("there are no images to learn from.")
        some = self.pixels[np.sort(rows[:: max(1, len(rows) // look_at)])]
        return DatasetInfo(
            count=len(rows),
            height=self.height,
            width=self.width,
            channels=self.channels,
            label_names=self.label_names,
            binary_fraction=float(np.mean((some == 0) | (some == 255))),
            near_binary_fraction=float(np.mean((some < 32) | (some > 223))),
            mean=float(some.mean() / 255),
            std=float(some.std() / 255),
            languages=tuple(self.captions),
        )

    # -- to look at ---------------------------------------------------------------------------

    def to_pil(self, index: int = 0) -> Image.Image:
        """One image as a Pillow image."""
        from PIL import Image

        pixels = self.pixels[index]
        return Image.fromarray(pixels[..., 0] if self.channels == 1 else pixels)

    def grid(self, columns: int | None = None, scale: int | None = None, gap: int = 2) -> Images:
        """All images on one sheet, as a `Images` of one; `scale` enlarges small ones."""
        n, h, w, c = self.pixels.shape
        if n == 0:
            raise UsageError("there are no images to lay out.")
        columns = columns or max(1, round(math.sqrt(n * h / w)))
        columns = min(columns, n)
        rows = math.ceil(n / columns)
        scale = scale or max(1, min(round(96 / max(h, w)), round(1600 / (columns * w))))
        h, w = h * scale, w * scale
        size = rows * (h + gap) + gap, columns * (w + gap) + gap, c
        sheet = np.full(size, self._between(), np.uint8)
        for i, image in enumerate(self.pixels):
            top, left = gap + i // columns * (h + gap), gap + i % columns * (w + gap)
            sheet[top : top + h, left : left + w] = image.repeat(scale, 0).repeat(scale, 1)
        return Images(sheet[None])

    def _between(self) -> int:
        """White, between images on white grey: where one ends must be seen."""
        edges = self.pixels[:, [0, -1]].ravel(), self.pixels[:, :, [0, -1]].ravel()
        return 200 if float(np.median(np.concatenate(edges))) > 250 else 255

    def png(self) -> bytes:
        """The image, or the grid of all, as the bytes of a PNG file."""
        sheet = self if len(self) == 1 else self.grid()
        with io.BytesIO() as file:
            sheet.to_pil().save(file, "PNG")
            return file.getvalue()

    def save(self, path: str | Path) -> Path:
        """Write the image, or the grid of all, as PNG; or every pixel, to a `.npy` file."""
        path = Path(path)
        if path.suffix not in (".png", ".npy"):
            raise UsageError(f"images are written as .png or .npy, not '{path.suffix}': {path}")
        if path.suffix == ".npy":
            with io.BytesIO() as file:
                np.save(file, np.asarray(self.pixels))
                content = file.getvalue()
        else:
            content = self.png()
        from pinxit.data.atomic_write import write_atomically

        return write_atomically(path, content)

    def _repr_png_(self) -> bytes:
        return self.png()

    @classmethod
    def concatenate(cls, parts: Iterable[Images]) -> Images:
        """One `Images` of the pixels of several (of one size)."""
        return cls(np.concatenate([part.pixels for part in parts]))
