"""The size and the number of channels that images are decoded to."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Sequence

from pinxit.errors import UsageError

Size = int | str | tuple[int, int] | None

LARGEST_OWN = 256  # pixels; images of one size up to this keep it
LARGEST_CHOSEN = 64  # what images of many sizes become, at most, unless a size is asked for
SMALLEST, LARGEST = 4, 4096  # what may be asked for


def parse_size(size: Size) -> tuple[int, int] | None:
    """Height and width of `64`, `"64"`, `"96x64"` (width x height) or `(64, 96)`; None stays.

    Raises UsageError.
    """
    if size is None:
        return None
    if isinstance(size, str):
        match = re.fullmatch(r"\s*(\d+)(?:\s*[xX×]\s*(\d+))?\s*", size)
        if match is None:
            raise UsageError(f"a size is '64', or '96x64' for width x height; not '{size}'.")
        width = int(match[1])
        pair = (int(match[2] or width), width)
    else:
        pair = (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
    if not all(SMALLEST <= side <= LARGEST for side in pair):
        raise UsageError(
            f"a size has sides of {SMALLEST} to {LARGEST:,} pixels, not {format_size(pair)}."
        )
    return pair


def format_size(size: tuple[int, int]) -> str:
    """(height, width) as people write it: width x height."""
    return f"{size[1]} x {size[0]}"


def choose_size(found: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], str]:
    """A size (height, width) for images of these sizes, and a line that says why.

    Images of one size up to 256 keep it. Others become squares: the power of two below the
    median shorter side, from 8 to 64.
    """
    sizes = sorted(set(found))
    if len(sizes) == 1 and min(sizes[0]) >= SMALLEST and max(sizes[0]) <= LARGEST_OWN:
        return sizes[0], ""
    median = statistics.median(min(size) for size in found)
    side = 2 ** math.floor(math.log2(max(8, min(LARGEST_CHOSEN, median))))
    return (side, side), f"{describe_sizes(found)}: made {side} x {side}; --size chooses another"


def describe_sizes(found: Sequence[tuple[int, int]]) -> str:
    """`images of 640 x 480`, or the smallest and the largest of many."""
    by_area = sorted(set(found), key=lambda size: (size[0] * size[1], size))
    if len(by_area) == 1:
        return f"images of {format_size(by_area[0])}"
    return f"images from {format_size(by_area[0])} to {format_size(by_area[-1])}"
