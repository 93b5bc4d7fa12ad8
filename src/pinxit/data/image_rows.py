"""`ImageRows`: a selection of `Images` whose pixels are read a batch at a time."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int

from pinxit.data.images import Images, evenly_spaced_indices

MAX_BATCH_IMAGES = 1_024
MAX_BATCH_BYTES = 64 << 20  # of the pixels of a batch
FIXED_BATCH = 64  # models pad their batches to this size or a part of it


@dataclass(frozen=True)
class ImageRows:
    """Rows of `Images`, in this order. Nothing is copied until rows are taken.

    The pixels of loaded images are a memory map: a split of them is many times larger than what a
    model works on at a time.
    """

    images: Images
    rows: Int[np.ndarray, " n"]

    @classmethod
    def of(cls, images: Images | ImageRows) -> ImageRows:
        """Return all rows of `Images`; a selection unchanged."""
        if isinstance(images, ImageRows):
            return images
        return cls(images, np.arange(len(images)))

    def __len__(self) -> int:
        return len(self.rows)

    def load(self) -> Images:
        """Return the selection as `Images`: a copy in memory, unless it is all of them in order."""
        count = len(self.images)
        if len(self) == count and np.array_equal(self.rows, np.arange(count)):
            return self.images
        return self.images.take(self.rows)

    def take(self, index: np.ndarray | slice) -> Images:
        """Return some of the selection as `Images`."""
        return self.images.take(self.rows[index])

    def evenly_spaced(self, max_images: int | None) -> ImageRows:
        """Select at most `max_images` rows, evenly spaced; None selects all."""
        if max_images is None or len(self) <= max_images:
            return self
        return ImageRows(self.images, self.rows[evenly_spaced_indices(len(self), max_images)])

    def batch_size(self, max_images: int = MAX_BATCH_IMAGES) -> int:
        """Return how many images are read at a time: `max_images`, fewer if they are large."""
        return size_of_batch(int(np.prod(self.images.pixels.shape[1:])), max_images)

    def batches(self, max_images: int = MAX_BATCH_IMAGES) -> Iterator[Images]:
        """Yield the images in order, at most `batch_size(max_images)` at a time."""
        size = self.batch_size(max_images)
        for start in range(0, len(self), size):
            batch = self.take(slice(start, start + size))
            _release_pages(self.images.pixels)
            yield batch

    def name(self, index: int) -> str:
        """Return the name of an image, or its number in the selection if it has no name."""
        return self.images.names[int(self.rows[index])] if len(self.images.names) else str(index)

    def label(self, index: int) -> str | None:
        """Return the name of an image's label; None if it has none."""
        if self.images.labels is None:
            return None
        number = int(self.images.labels[self.rows[index]])
        return self.images.label_names[number] if number >= 0 else None


def size_of_batch(image_bytes: int, max_images: int = MAX_BATCH_IMAGES) -> int:
    """Return how many images of so many bytes are read at a time, at most `max_images`."""
    size = max(1, min(max_images, MAX_BATCH_BYTES // max(1, image_bytes)))
    return size if size < FIXED_BATCH else size - size % FIXED_BATCH


def _release_pages(pixels: np.ndarray) -> None:
    """Let the system take back the pages of a memory map that were read, which it else counts.

    They stay in its cache of files. A map that can be written keeps its pages: it may have changes.
    """
    mapped: Any = getattr(pixels, "_mmap", None)
    if isinstance(pixels, np.memmap) and pixels.mode == "r" and hasattr(mapped, "madvise"):
        mapped.madvise(mmap.MADV_DONTNEED)
