"""The sheet of images that a notebook shows: all of a few, 64 of many, at a size to see them."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from pinxit.data.encoding import encode_image, to_pil
from pinxit.data.fonts import load_font

MAX_DISPLAYED = 64  # images, at even distances
SHEET_PIXELS = 960  # width; images are enlarged or reduced to about this width in all
LARGE_CELL, SMALL_CELL = 240, 96  # size to which images are enlarged: of a few, of many
ASPECT_RATIO = 1.6  # of the grid: a page is read downwards, so that a wide grid is seen at once
MAX_ROW = 10  # as many images are shown in one row
GAP = 2  # pixels between images
PAIR_GAP = 14  # pixels between pairs
FONT_PIXELS = 13
TEXT_COLOR = (110, 110, 110)  # on white

Pixels = UInt8[np.ndarray, "n height width channel"]


def display_png(
    pixels: Pixels, before: Pixels | None, num_images: int, columns: int | None = None
) -> bytes:
    """Return a PNG: the images in a grid, each to the right of that in `before`.

    `num_images` is the number of images of which these are shown; more are mentioned in a line
    below. `columns` is the number of columns of images (default: chosen).
    """
    pairs = pixels if before is None else np.concatenate([before, pixels], 2)
    n, height, width, _ = pairs.shape
    columns = min(columns or _choose_columns(n, height, width), n)
    tiles = [tile if before is None else _separate(tile) for tile in _resize(pairs, columns)]
    gap = GAP if before is None else PAIR_GAP
    width, height = tiles[0].size
    rows = math.ceil(n / columns)
    text = f"{n:,} of {num_images:,} images, evenly spaced" if num_images > n else ""
    size = (columns * (width + gap) - gap, rows * (height + gap) - gap)
    sheet = Image.new("RGB", (size[0], size[1] + (FONT_PIXELS + 8 if text else 0)), "white")
    for i, tile in enumerate(tiles):
        row, column = divmod(i, columns)
        sheet.paste(tile, (column * (width + gap), row * (height + gap)))
    if text:
        pen, font = ImageDraw.Draw(sheet), load_font(FONT_PIXELS)
        pen.text((2, size[1] + 4), text, font=font, fill=TEXT_COLOR)
    return encode_image(sheet)


def _separate(pair: Image.Image) -> Image.Image:
    """Return two images side by side with a white line between them."""
    middle, (width, height) = pair.width // 2, pair.size
    tile = Image.new(pair.mode, (width + GAP, height), "white")
    tile.paste(pair.crop((0, 0, middle, height)), (0, 0))
    tile.paste(pair.crop((middle, 0, width, height)), (middle + GAP, 0))
    return tile


def _choose_columns(n: int, height: int, width: int) -> int:
    """A row of a few images; else a grid wider than high, with few empty cells."""
    if n * width <= MAX_ROW * height:
        return n
    target = max(1, round(math.sqrt(ASPECT_RATIO * n * height / width)))
    return min(range(max(1, target - 2), target + 3), key=lambda c: (-n % c, abs(c - target), -c))


def _resize(tiles: Pixels, columns: int) -> list[Image.Image]:
    """Enlarge small images by a whole factor, reduce large ones to fit the sheet."""
    n, height, width = tiles.shape[:3]
    largest = LARGE_CELL if n <= MAX_ROW else SMALL_CELL
    target = min(largest * width / max(height, width // 2), SHEET_PIXELS / columns)
    factor = max(1, round(target / width))
    images = [to_pil(tile) for tile in tiles.repeat(factor, 1).repeat(factor, 2)]
    if columns * width <= SHEET_PIXELS or factor > 1:
        return images
    size = max(1, SHEET_PIXELS // columns)
    scaled = (size, max(1, round(height * size / width)))
    return [image.resize(scaled, Image.Resampling.BOX) for image in images]
