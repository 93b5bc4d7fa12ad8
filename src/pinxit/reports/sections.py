"""Shared by the sections of the report: their type, size limits, helpers for images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pinxit.data.images import Images
from pinxit.reports.context import ReportContext
from pinxit.reports.images import (
    InlineImage,
    inline_grid,
    inline_image,
    is_small,
    shrink,
    to_rgba,
)

# limits that keep the file small
MAX_IMAGE_SIDE = 96  # pixels of an image that stands alone
MAX_THUMBNAIL_SIDE = 48  # pixels of an image in a grid of many
MIN_ROW_HEIGHT = 64  # pixels; smaller images in tables are enlarged to about this


@dataclass(frozen=True)
class Section:
    """A part of the page.

    `key` is its anchor and selects its template, `templates/sections/<key>.html.j2`, which is
    rendered with `values`.
    """

    key: str
    title: str
    values: dict[str, Any] = field(default_factory=dict)


# returns None if the run has nothing to show
SectionBuilder = Callable[[ReportContext], Section | None]


def shrink_images(images: Images, max_side: int = MAX_IMAGE_SIDE) -> np.ndarray:
    """Return the pixels, shrunk so that no side exceeds `max_side`."""
    return shrink(images.pixels, max_side)


def is_shrunk(images: Images, max_side: int = MAX_IMAGE_SIDE) -> bool:
    """Return whether `shrink_images` shrinks the images, which captions then state."""
    return max(images.height, images.width) > max_side


def inline_thumbnails(rows: list[Images], alt: str) -> InlineImage:
    """Embed rows of equal length as one grid of thumbnails."""
    pixels = shrink_images(Images.concatenate(rows), MAX_THUMBNAIL_SIDE)
    return inline_grid(pixels, len(rows[0]), alt)


def inline_row(images: Images, alt: str) -> InlineImage:
    """Embed images in one row for a table, small ones enlarged by a whole number."""
    pixels = shrink_images(images)
    scale = max(1, MIN_ROW_HEIGHT // max(pixels.shape[1:3]))
    return inline_grid(pixels.repeat(scale, 1).repeat(scale, 2), len(images), alt)


def inline_shrunk(pixels: np.ndarray, alt: str) -> InlineImage:
    """Embed one image `[h, w, c]`, shrunk so that no side exceeds `MAX_IMAGE_SIDE`."""
    small = shrink(pixels[None], MAX_IMAGE_SIDE)[0]
    return inline_image(to_rgba(small), alt, is_small(pixels))


def get_image_name(images: Images, row: int) -> str:
    """Return the name of an image without its folders, else its row number."""
    return str(images.names[row]).rsplit("/", 1)[-1] if len(images.names) else f"no. {row}"


def describe_image(images: Images, row: int) -> str:
    """Return the alternative text of an image: `Image cat-7.png, label cat`."""
    name = f"Image {get_image_name(images, row)}"
    if images.labels is not None and images.label_names and images.labels[row] >= 0:
        return f"{name}, label {images.label_names[images.labels[row]]}"
    return name
