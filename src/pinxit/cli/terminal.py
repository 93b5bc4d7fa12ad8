"""Show images in the terminal while they are generated, two pixels per character."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pinxit.cli.common import write_file, write_or_raise

if TYPE_CHECKING:
    from rich.text import Text

    from pinxit.data.images import Images

UPPER_HALF = "\N{UPPER HALF BLOCK}"
GAP = 2  # characters between images


def save_stream(
    stream: Iterator[Images], path: Path, *, live: bool = False, columns: int | None = None
) -> Path:
    """Write a stream of partial images to a file: a `.gif` has all steps, other files the last.

    `columns` is the number of columns of the grid in an image file.
    """
    if path.suffix.lower() == ".gif":
        from pinxit.sampling.grids import progress_gif

        return write_file(path, progress_gif(stream))
    images = show_live(stream) if live else _last(stream)
    if columns is not None and path.suffix.lower() != ".npy":
        images = images.grid(columns)
    return write_or_raise(path, images.save)


def _last(stream: Iterator[Images]) -> Images:
    *_, images = stream
    return images


def show_live(stream: Iterator[Images], width: int | None = None) -> Images:
    """Show one row of images on stderr while they are generated; return the last step.

    Shows nothing if stderr is not a terminal or cannot encode block characters.
    """
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True, width=width)
    visible = console.is_terminal and "utf" in (sys.stderr.encoding or "").lower()
    images = None
    with Live(console=console, auto_refresh=False, transient=True) as live:
        for images in stream:
            if visible:
                live.update(to_half_blocks(images, console.width), refresh=True)
    assert images is not None, "a stream yields at least once"
    if visible:
        console.print(to_half_blocks(images, console.width))
    return images


def to_half_blocks(images: Images, width: int) -> Text:
    """Draw the first images side by side, at most `width` characters wide.

    Each character shows two pixels: foreground color above, background color below.
    """
    import numpy as np
    from rich.text import Text

    step = max(1, -(-images.width // max(1, width)))  # subsampling of wide images
    count = max(1, (width + GAP) // (-(-images.width // step) + GAP))
    pixels = images.pixels[:count, ::step, ::step]
    pixels = np.broadcast_to(pixels, (*pixels.shape[:3], 3))
    if pixels.shape[1] % 2:
        pixels = np.concatenate([pixels, pixels[:, -1:]], 1)
    text = Text(no_wrap=True)
    for row in range(0, pixels.shape[1], 2):
        for number, image in enumerate(pixels):
            text.append(" " * GAP if number else "")
            for upper, lower in zip(image[row].tolist(), image[row + 1].tolist(), strict=True):
                text.append(UPPER_HALF, f"{_color(upper)} on {_color(lower)}")
        text.append("\n")
    text.right_crop(1)
    return text


def _color(pixel: list[int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*pixel)
