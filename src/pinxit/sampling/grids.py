"""What commands draw: images side by side, in rows with a text, and as an animation."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np

from pinxit.data.contact_sheet import contact_sheet, load_font
from pinxit.data.images import Images

GAP = 2  # pixels between images
MARGIN = 8


def choose_scale(images: Images, across: int, cell: int = 96, most: int = 1_600) -> int:
    """How much small images are enlarged on a sheet of so many across."""
    largest = max(images.height, images.width)
    return max(1, min(round(cell / largest), most // max(1, across * images.width)))


def enlarge(images: Images, scale: int) -> np.ndarray:
    """uint8 `[n, height, width, channel]`, each pixel a square of `scale`."""
    return np.asarray(images.pixels).repeat(scale, 1).repeat(scale, 2)


def pair_grid(originals: Images, made: Images, columns: int | None = None) -> Images:
    """Each original with what was made of it at its right: a `Images` of one."""
    columns = min(columns or _choose_columns(len(originals)), len(originals))
    scale = choose_scale(originals, 2 * columns)
    left, right = enlarge(originals, scale), enlarge(made, scale)
    line = np.full((*left.shape[:2], 1, left.shape[3]), 255, np.uint8)
    return Images(np.concatenate([left, line, right], 2)).grid(columns, scale=1, gap=8)


def _choose_columns(count: int) -> int:
    """Pairs a row, about as many as rows are high, of those the number that fills the last."""
    wide = max(1, min(8, round((0.7 * count) ** 0.5)))
    return min(range(max(1, wide - 1), wide + 3), key=lambda n: (-count % n, abs(n - wide)))


def image_strip(made: Images, ends: Images | None = None, columns: int = 12) -> Images:
    """Images in a row (more rows where they are many), between the originals at its ends."""
    if ends is not None:
        made = Images.concatenate([ends[:1], made, ends[1:2]])
    return made.grid(min(len(made), columns), gap=GAP)


def rows_with_text(images: Images, columns: int, texts: Sequence[str]) -> bytes:
    """The bytes of a PNG: rows of `columns` images, each with its text at the left."""
    from PIL import Image, ImageDraw

    font = load_font(13)
    scale = choose_scale(images, columns, cell=64)
    tiles = enlarge(images, scale)
    _, h, w, c = tiles.shape
    left = MARGIN + 12 + int(max(max(map(font.getlength, t.split("\n"))) for t in texts))
    size = left + columns * (w + GAP) + MARGIN, MARGIN + len(texts) * (h + GAP + 2) + MARGIN
    sheet = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    for i, tile in enumerate(tiles):
        row, column = divmod(i, columns)
        at = left + column * (w + GAP), MARGIN + row * (h + GAP + 2)
        sheet.paste(Image.fromarray(tile[..., 0] if c == 1 else tile), at)
        if column == 0:
            middle = at[1] + h / 2
            pen.multiline_text(
                (MARGIN, middle), texts[row], font=font, fill=(60, 60, 60), anchor="lm", spacing=3
            )
    with io.BytesIO() as file:
        sheet.save(file, "PNG")
        return file.getvalue()


def columns_with_titles(columns: Sequence[tuple[str, Images]]) -> bytes:
    """The bytes of a PNG: each column's title, and under it its images, one a row."""
    from PIL import Image, ImageDraw

    font = load_font(12)
    scale = choose_scale(columns[0][1], len(columns), cell=80)
    tiles = [enlarge(images, scale) for _, images in columns]
    rows, h, w, c = tiles[0].shape
    across = max(w, *(int(font.getlength(title)) + 6 for title, _ in columns)) + 2 * GAP
    top = MARGIN + 18
    size = 2 * MARGIN + len(columns) * across, top + rows * (h + 2 * GAP) + MARGIN
    sheet = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    for column, (title, _) in enumerate(columns):
        left = MARGIN + column * across
        pen.text((left + across / 2, MARGIN), title, font=font, fill=(60, 60, 60), anchor="ma")
        for row, tile in enumerate(tiles[column]):
            at = left + (across - w) // 2, top + row * (h + 2 * GAP)
            sheet.paste(Image.fromarray(tile[..., 0] if c == 1 else tile), at)
    with io.BytesIO() as file:
        sheet.save(file, "PNG")
        return file.getvalue()


def score_sheet(
    images: Images,
    scores: np.ndarray,
    most: int = 48,
    first: Literal["lowest", "highest"] = "lowest",
) -> bytes:
    """The bytes of a PNG: the images of lowest (or highest) score, each score under its own."""
    order = np.argsort(scores if first == "lowest" else -scores, kind="stable")[:most]
    texts = [f"{_title_prefix(images, int(i))} {_format_score(float(scores[i]))}" for i in order]
    return contact_sheet(images.take(order), texts)


def _format_score(number: float) -> str:
    return f"{number:,.1f}".replace("-", "\N{MINUS SIGN}")


def _title_prefix(images: Images, row: int) -> str:
    if images.labels is not None and images.labels[row] >= 0:
        return f"{images.label_names[images.labels[row]]}:"
    return f"{images.names[row].rsplit('/', 1)[-1]}:" if len(images.names) else ""


def animated_gif(images: Images, seconds: float = 3.0, there_and_back: bool = True) -> bytes:
    """The bytes of an animated GIF, without end; small images are enlarged."""
    from PIL import Image

    tiles = enlarge(images, max(1, round(256 / max(images.height, images.width))))
    if there_and_back:
        tiles = np.concatenate([tiles, tiles[-2:0:-1]])
    frames = [Image.fromarray(t[..., 0] if t.shape[-1] == 1 else t) for t in tiles]
    each = max(20, round(1000 * seconds / len(frames)))
    with io.BytesIO() as file:
        frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=each, loop=0)
        return file.getvalue()


def progress_gif(growing: Iterable[Images], seconds: float = 3.0, most: int = 60) -> bytes:
    """The bytes of an animated GIF: a grid of images as they grow, then a while as they are."""
    grids = [images.grid() for images in growing]
    step = -(-len(grids) // most)
    kept = grids[-1::-step][::-1]
    still = round(len(kept) / 2) + 1
    return animated_gif(Images.concatenate([*kept, *[kept[-1]] * still]), seconds, False)
