"""Draw the image files of the commands, from generated images.

Grids of pairs, strips, rows and columns with text, and score sheets are PNG; animations are GIF.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw

from pinxit.data.atomic_write import write_atomically
from pinxit.data.contact_sheet import contact_sheet
from pinxit.data.encoding import IMAGE_SUFFIXES, encode_image, to_pil, transcode_png
from pinxit.data.fonts import load_font
from pinxit.data.home_folder import expand_home
from pinxit.data.image_rows import ImageRows
from pinxit.data.images import Images
from pinxit.errors import UsageError

GAP = 2  # pixels between images
MARGIN = 8  # pixels around a sheet
TEXT_COLOR = (60, 60, 60)  # RGB


def choose_scale(images: Images, columns: int, cell: int = 96, max_width: int = 1_600) -> int:
    """Return the factor that enlarges images to about `cell` pixels, on a sheet of `columns`."""
    size = max(images.height, images.width)
    return max(1, min(round(cell / size), max_width // max(1, columns * images.width)))


def enlarge(images: Images, scale: int) -> UInt8[np.ndarray, "n height width channel"]:
    """Repeat each pixel `scale` times along both sides."""
    return np.asarray(images.pixels).repeat(scale, 1).repeat(scale, 2)


def pair_grid(originals: Images, results: Images, columns: int | None = None) -> Images:
    """Return one sheet of pairs: each original, with its result to its right."""
    columns = min(columns or _choose_columns(len(originals)), len(originals))
    scale = choose_scale(originals, 2 * columns)
    left, right = enlarge(originals, scale), enlarge(results, scale)
    separator = np.full((*left.shape[:2], 1, left.shape[3]), 255, np.uint8)
    return Images(np.concatenate([left, separator, right], 2)).grid(columns, scale=1, gap=8)


def with_heading(png: bytes, text: str) -> bytes:
    """Return a PNG with a line of text above another PNG."""
    font = load_font(13)
    with Image.open(io.BytesIO(png)) as image:
        width = max(image.width, int(font.getlength(text)) + 2 * MARGIN)
        sheet = Image.new("RGB", (width, image.height + MARGIN + 18), "white")
        sheet.paste(image.convert("RGB"), (0, MARGIN + 18))
    ImageDraw.Draw(sheet).text((MARGIN, MARGIN), text, font=font, fill=TEXT_COLOR)
    return encode_image(sheet)


def save_sheet(png: bytes, path: str | Path) -> Path:
    """Write a PNG to a file, as `.png`, `.jpg` or `.webp`. Raises UsageError for another suffix."""
    path = expand_home(path)
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        known = " or ".join(IMAGE_SUFFIXES)
        raise UsageError(f"a sheet is saved as {known}, not '{path.suffix}': {path}")
    return write_atomically(path, transcode_png(png, path))


def _choose_columns(num_pairs: int) -> int:
    """Return the columns for a roughly square sheet.

    Among nearby numbers, choose the one that leaves the fewest empty cells.
    """
    square_columns = max(1, min(8, round((0.7 * num_pairs) ** 0.5)))
    return min(
        range(max(1, square_columns - 1), square_columns + 3),
        key=lambda n: (-num_pairs % n, abs(n - square_columns)),
    )


def image_strip(images: Images, endpoints: Images | None = None, columns: int = 12) -> Images:
    """Return the images in rows of `columns`, between the two originals `endpoints` if given."""
    if endpoints is not None:
        images = Images.concatenate([endpoints[:1], images, endpoints[1:2]])
    return images.grid(min(len(images), columns), gap=GAP)


def rows_with_text(
    images: Images, columns: int, texts: Sequence[str], titles: Sequence[str] = ()
) -> bytes:
    """Return a PNG: rows of `columns` images, each row with its text to the left.

    `titles` are the texts above the columns; those that would overlap are left out.
    """
    font, small = load_font(13), load_font(11)
    tiles = enlarge(images, choose_scale(images, columns, cell=64))
    _, h, w, _ = tiles.shape
    left = MARGIN + 12 + int(max(max(map(font.getlength, t.split("\n"))) for t in texts))
    top = MARGIN + (16 if titles else 0)
    size = left + columns * (w + GAP) + MARGIN, top + len(texts) * (h + GAP + 2) + MARGIN
    sheet = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    if titles:
        widest = 6 + max(map(small.getlength, titles))
        stride = math.ceil(widest / (w + GAP))
        for column in range((columns - 1) % stride // 2, columns, stride):
            middle = (left + column * (w + GAP) + w / 2, MARGIN)
            pen.text(middle, titles[column], font=small, fill=TEXT_COLOR, anchor="ma")
    for i, tile in enumerate(tiles):
        row, column = divmod(i, columns)
        x, y = left + column * (w + GAP), top + row * (h + GAP + 2)
        sheet.paste(to_pil(tile), (x, y))
        if column == 0:
            corner = (MARGIN, y + h / 2)
            pen.multiline_text(
                corner, texts[row], font=font, fill=TEXT_COLOR, anchor="lm", spacing=3
            )
    return encode_image(sheet)


def columns_with_titles(columns: Sequence[tuple[str, Images]]) -> bytes:
    """Return a PNG: columns of images, each under its title."""
    font = load_font(12)
    scale = choose_scale(columns[0][1], len(columns), cell=80)
    tiles = [enlarge(images, scale) for _, images in columns]
    rows, h, w, _ = tiles[0].shape
    width = max(w, *(int(font.getlength(title)) + 6 for title, _ in columns)) + 2 * GAP
    top = MARGIN + 18
    size = 2 * MARGIN + len(columns) * width, top + rows * (h + 2 * GAP) + MARGIN
    sheet = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    for column, (title, _) in enumerate(columns):
        left = MARGIN + column * width
        pen.text((left + width / 2, MARGIN), title, font=font, fill=TEXT_COLOR, anchor="ma")
        for row, tile in enumerate(tiles[column]):
            sheet.paste(to_pil(tile), (left + (width - w) // 2, top + row * (h + 2 * GAP)))
    return encode_image(sheet)


def score_sheet(
    images: Images | ImageRows,
    scores: Float[np.ndarray, " n"],
    max_images: int = 48,
    first: Literal["lowest", "highest"] = "lowest",
) -> bytes:
    """Return a PNG: the images of lowest (or highest) score, each above its label and score."""
    order = np.argsort(scores if first == "lowest" else -scores, kind="stable")[:max_images]
    shown = ImageRows.of(images).take(order)
    texts = [f"{_label(shown, k)} {_format_score(float(scores[i]))}" for k, i in enumerate(order)]
    return contact_sheet(shown, texts)


def _format_score(score: float) -> str:
    return f"{score:,.1f}".replace("-", "\N{MINUS SIGN}")


def _label(images: Images, row: int) -> str:
    """Return the image's label, or its file name if it has no label."""
    if images.labels is not None and images.labels[row] >= 0:
        return f"{images.label_names[images.labels[row]]}:"
    return f"{images.names[row].rsplit('/', 1)[-1]}:" if len(images.names) else ""


def encode_gif(images: Images, seconds: float = 3.0, back_and_forth: bool = True) -> bytes:
    """Return an animated GIF that loops; small images are enlarged."""
    tiles = enlarge(images, max(1, round(256 / max(images.height, images.width))))
    if back_and_forth:
        tiles = np.concatenate([tiles, tiles[-2:0:-1]])
    frames = [to_pil(tile) for tile in tiles]
    duration = max(20, round(1000 * seconds / len(frames)))  # ms per frame; browsers need 20
    with io.BytesIO() as file:
        frames[0].save(
            file, "GIF", save_all=True, append_images=frames[1:], duration=duration, loop=0
        )
        return file.getvalue()


def progress_gif(stream: Iterable[Images], seconds: float = 3.0, max_frames: int = 60) -> bytes:
    """Return an animated GIF of the grid of images while they are generated.

    The last frame, the finished images, stays for a third of the time.
    """
    grids = [images.grid() for images in stream]
    step = -(-len(grids) // max_frames)
    frames = grids[-1::-step][::-1]
    num_final = round(len(frames) / 2) + 1
    frames += [frames[-1]] * num_final
    return encode_gif(Images.concatenate(frames), seconds, back_and_forth=False)
