"""Which part of an image a model reads, and where in the image its output belongs.

A model has one size, and images have any proportions. Nothing of an edited image is lost: a model
reads all of it, padded, and the padding is cut off again; or, to fill in a mask, the largest window
around the mask that has the model's proportions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool
from PIL import Image

from pinxit.data.decoding.resize import inner_size, pad, stretch

Size = tuple[int, int]  # width, height
Box = tuple[int, int, int, int]  # left, top, right, bottom


@dataclass(frozen=True)
class Frame:
    """The part of a source that a model reads: a window of it, or all of it with padding."""

    source: Size
    model: Size
    window: Box | None = None  # None: the whole source

    @property
    def content(self) -> Box:
        """The part of the model's image that shows the source; the rest is padding."""
        width, height = self.model
        if self.window is not None:
            return 0, 0, width, height
        inner_width, inner_height = inner_size(self.source, height, width)
        left, top = (width - inner_width) // 2, (height - inner_height) // 2
        return left, top, left + inner_width, top + inner_height

    @property
    def content_size(self) -> Size:
        left, top, right, bottom = self.content
        return right - left, bottom - top

    def read(self, image: Image.Image) -> Image.Image:
        """Return what the model reads of a source at its own size."""
        if self.window is not None:
            image = image.crop(self.window)
        width, height = self.content_size
        return self.pad(stretch(image, height, width))

    def pad(self, content: Image.Image) -> Image.Image:
        """Return the model's image of what is to be seen of the source."""
        return pad(content, self.model[1], self.model[0])

    def read_mask(self, mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "height width"]:
        """Return a source's mask at the model's size: pixels with any masked part, no padding."""
        left, top, right, bottom = self.window or (0, 0, *self.source)
        width, height = self.content_size
        inner = _any_in_cells(mask[top:bottom, left:right], height)
        inner = _any_in_cells(inner.T, width).T
        fitted = np.zeros((self.model[1], self.model[0]), bool)
        left, top, right, bottom = self.content
        fitted[top:bottom, left:right] = inner
        return fitted

    def cut(self, generated: Image.Image) -> Image.Image:
        """Return a model's output without the padding."""
        return generated.crop(self.content)


def center_frame(source: Size, model: Size) -> Frame:
    """Return the frame of the middle of a source, as large as can be."""
    width, height = _window_size(source, model)
    left, top = (source[0] - width) // 2, (source[1] - height) // 2
    return Frame(source, model, (left, top, left + width, top + height))


def choose_frame(
    source: Size, model: Size, mask: Bool[np.ndarray, "height width"] | None = None
) -> Frame:
    """Return the frame for an edit: the whole source; with a mask the nearest window around it.

    The window is as near to the middle as the mask allows. A mask that no window holds takes the
    whole source.
    """
    if mask is None or not mask.any():
        return Frame(source, model)
    width, height = _window_size(source, model)
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    left = _place(source[0], width, int(columns[0]), int(columns[-1]) + 1)
    top = _place(source[1], height, int(rows[0]), int(rows[-1]) + 1)
    if left is None or top is None:
        return Frame(source, model)
    return Frame(source, model, (left, top, left + width, top + height))


def _window_size(source: Size, model: Size) -> Size:
    """Return the largest size within a source that has a model's proportions."""
    scale = max(model[0] / source[0], model[1] / source[1])
    width, height = round(model[0] / scale), round(model[1] / scale)
    return min(source[0], max(1, width)), min(source[1], max(1, height))


def _any_in_cells(mask: Bool[np.ndarray, "rows columns"], num_cells: int) -> np.ndarray:
    """Reduce or enlarge the rows to cells: a cell is True if any row that it covers a part of is.

    Resampling would lose a few pixels of a large mask.
    """
    cells = np.arange(num_cells)
    first, last = cells * len(mask) // num_cells, -(-(cells + 1) * len(mask) // num_cells)
    counts = np.concatenate([np.zeros_like(mask[:1], np.int32), mask.cumsum(0, dtype=np.int32)])
    return counts[last] > counts[first]


def _place(total: int, length: int, first: int, last: int) -> int | None:
    """Return the start of a section that contains first to last, as central as it can be."""
    if last - first > length:
        return None
    return max(last - length, min(first, (total - length) // 2))
