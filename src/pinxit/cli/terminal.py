"""Images in the terminal as they grow: two pixels a character, one above the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text

    from pinxit.data.images import Images

UPPER = "\N{UPPER HALF BLOCK}"
GAP = 2  # characters between images


def show_live(growing: Iterator[Images], width: int | None = None) -> Images:
    """Show images on stderr as they come, as many as fit in a line; returns the last.

    Where stderr is no terminal nothing is shown.
    """
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True, width=width)
    last = None
    with Live(console=console, auto_refresh=False, transient=True) as live:
        for last in growing:
            if console.is_terminal:
                live.update(to_half_blocks(last, console.width), refresh=True)
    assert last is not None, "there is one image or more"
    if console.is_terminal:
        console.print(to_half_blocks(last, console.width))
    return last


def to_half_blocks(images: Images, across: int) -> Text:
    """The first images side by side, each character two of their pixels."""
    import numpy as np
    from rich.text import Text

    step = max(1, -(-images.width // max(1, across)))  # of an image wider than the terminal
    few = images.pixels[: max(1, (across + GAP) // (-(-images.width // step) + GAP))]
    few = few[:, ::step, ::step]
    few = np.broadcast_to(few, (*few.shape[:3], 3))
    if few.shape[1] % 2:
        few = np.concatenate([few, few[:, -1:]], 1)
    text = Text(no_wrap=True)
    for row in range(0, few.shape[1], 2):
        for number, image in enumerate(few):
            text.append(" " * GAP if number else "")
            for above, below in zip(image[row].tolist(), image[row + 1].tolist(), strict=True):
                text.append(UPPER, f"{_color(above)} on {_color(below)}")
        text.append("\n")
    text.right_crop(1)
    return text


def _color(pixel: list[int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*pixel)
