"""The size that images are decoded to: parsed from an option, or chosen from the images."""

from __future__ import annotations

import math
import operator
import re
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from pinxit.errors import UsageError

Size = int | str | tuple[int, int] | None

MAX_KEPT_SIDE = 256  # pixels; images that have one common size up to this keep it
MIN_DEFAULT_SIDE, MAX_DEFAULT_SIDE = 8, 64  # pixels; of images with several sizes
MIN_SIDE, MAX_SIDE = 4, 4096  # pixels; what can be requested


def parse_size(size: Size) -> tuple[int, int] | None:
    """Return (height, width) for `64`, `"64"`, `"96x64"` (width x height) or `(64, 96)`.

    None stays None. Raises UsageError for anything else.
    """
    if size is None:
        return None
    if isinstance(size, str):
        match = re.fullmatch(r"\s*(\d+)(?:\s*[xX×]\s*(\d+))?\s*", size)
        if match is None:
            raise UsageError(f"a size is '64', or '96x64' for width x height, not '{size}'.")
        width = int(match[1])
        pair = (int(match[2] or width), width)
    else:
        pair = _parse_sides(size)
    if not all(MIN_SIDE <= side <= MAX_SIDE for side in pair):
        raise UsageError(
            f"the sides of a size must be {MIN_SIDE} to {MAX_SIDE:,} pixels, "
            f"not {size if isinstance(size, int | str) else format_size(pair)}."
        )
    return pair


def _parse_sides(size: object) -> tuple[int, int]:
    """Return the sides of an integer, or of two; integers of NumPy, too."""
    sides: list[Any] = (
        list(size) if isinstance(size, Iterable) and not isinstance(size, bytes) else [size, size]
    )
    try:
        height, width = map(operator.index, sides)
    except (TypeError, ValueError):
        raise UsageError(
            f"a size is an integer, or a pair (height, width) of integers, not {size!r}."
        ) from None
    return height, width


def format_size(size: tuple[int, int]) -> str:
    """Format (height, width) as `width x height`."""
    return f"{size[1]} x {size[0]}"


def choose_size(sizes: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], str]:
    """Return a size (height, width) for images of these sizes, and a note if it is not theirs.

    A common size up to 256 is kept. Otherwise images become squares: the largest power of two, 8
    to 64, that is not above the median of their shorter sides.
    """
    distinct = sorted(set(sizes))
    if len(distinct) == 1 and min(distinct[0]) >= MIN_SIDE and max(distinct[0]) <= MAX_KEPT_SIDE:
        return distinct[0], ""
    median = statistics.median(min(size) for size in sizes)
    side = 2 ** math.floor(math.log2(max(MIN_DEFAULT_SIDE, min(MAX_DEFAULT_SIDE, median))))
    return (side, side), (
        f"{describe_sizes(sizes)} are resized to {side} x {side}; choose another size with --size"
    )


def describe_sizes(sizes: Sequence[tuple[int, int]]) -> str:
    """Return `images of 640 x 480`, or `images from ... to ...` for several sizes."""
    by_area = sorted(set(sizes), key=lambda size: (size[0] * size[1], size))
    if len(by_area) == 1:
        return f"images of {format_size(by_area[0])}"
    return f"images from {format_size(by_area[0])} to {format_size(by_area[-1])}"
