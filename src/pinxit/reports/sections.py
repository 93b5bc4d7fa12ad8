"""What the page shows, one function a section; each returns None where there is nothing to show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pinxit.data.images import Images
from pinxit.reports.context import Material
from pinxit.reports.images import (
    shrunk,
)

LONGEST = 96  # pixels a side of an image in the page; larger ones are made smaller
THUMB = 48  # likewise of one of many in a row


@dataclass(frozen=True)
class Section:
    """A part of the page: `key` is its anchor and the name of its template."""

    key: str
    title: str
    values: dict[str, Any] = field(default_factory=dict)


Maker = Callable[[Material], Section | None]


# -- pixels ----------------------------------------------------------------------------------


def small_pixels(images: Images, longest: int = LONGEST) -> np.ndarray:
    """The pixels, made smaller where they would make the page heavy."""
    return shrunk(images.pixels, longest)


def shown_small(images: Images, longest: int = LONGEST) -> bool:
    """Whether `small_pixels` made them smaller, which a caption then says."""
    return max(images.height, images.width) > longest
