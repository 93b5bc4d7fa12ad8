"""A contact sheet: images with a line or two under each."""

from __future__ import annotations

import importlib.util
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pinxit.data.images import Images
from pinxit.errors import UsageError

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont, ImageFont

CELL = 96  # pixels: small images are enlarged about to this
GAP = 10
LINES = 5  # of text under an image, at most
TEXT = 11  # pixels
LINE = TEXT + 3


def cell_texts(images: Images, language: str | None = None) -> list[str]:
    """What to write under each image: its caption, else its label, else its name.

    `language` chooses among captions; without it the first is taken.
    Raises UsageError where there are no captions in that language.
    """
    if language is not None and language not in images.captions:
        known = ", ".join(images.captions) or "none"
        raise UsageError(f"no captions in '{language}'; there are: {known}.")
    captions = images.captions.get(language or next(iter(images.captions), ""), [])
    texts = []
    for i in range(len(images)):
        label = -1 if images.labels is None else int(images.labels[i])
        caption = captions[i] if len(captions) else ""
        name = images.names[i].rsplit("/", 1)[-1] if len(images.names) else ""
        texts.append(caption or (images.label_names[label] if label >= 0 else name))
    return texts


def contact_sheet(images: Images, texts: Sequence[str], columns: int | None = None) -> bytes:
    """The bytes of a PNG: the images in rows, each with its text, small ones enlarged.

    Raises UsageError where there are none.
    """
    from PIL import Image, ImageDraw

    if len(images) == 0:
        raise UsageError("there are no images to show.")
    scale = max(1, round(CELL / max(images.height, images.width)))
    height, width = images.height * scale, images.width * scale
    across = max(width, CELL)
    columns = min(columns or _columns(len(images)), len(images))
    font = load_font()
    wrapped = [_wrapped(text, across, font) for text in texts]
    tops = _tops(wrapped, columns, height)
    sheet = Image.new("RGB", (columns * (across + GAP) + GAP, tops[-1]), "white")
    pen = ImageDraw.Draw(sheet)
    for i, lines in enumerate(wrapped):
        left, top = GAP + i % columns * (across + GAP), tops[i // columns]
        at = left + (across - width) // 2
        image = images.to_pil(i).resize((width, height), Image.Resampling.NEAREST)
        sheet.paste(image, (at, top))
        # a hairline, so that an image on white has an edge
        pen.rectangle((at - 1, top - 1, at + width, top + height), outline=(225, 225, 225))
        for row, text in enumerate(lines):
            y = top + height + 3 + row * LINE
            pen.text((left + across / 2, y), text, font=font, fill=(60, 60, 60), anchor="ma")
    with io.BytesIO() as file:
        sheet.save(file, "PNG")
        return file.getvalue()


def _columns(count: int) -> int:
    """A sheet somewhat wider than high, of those the one whose last row is fullest."""
    wide = max(1, round(math.sqrt(1.3 * count)))
    return min(range(max(1, wide - 2), wide + 2), key=lambda n: (-count % n, abs(n - wide), -n))


def _tops(wrapped: Sequence[Sequence[str]], columns: int, height: int) -> list[int]:
    """Where each row of images begins, and where the last one ends, in pixels."""
    tops = [GAP]
    for start in range(0, len(wrapped), columns):
        lines = max(len(lines) for lines in wrapped[start : start + columns])
        tops.append(tops[-1] + height + lines * LINE + GAP)
    return tops


def load_font(size: int = TEXT) -> FreeTypeFont | ImageFont:
    """DejaVu Sans as matplotlib carries it (accents, Greek, Cyrillic), else Pillow's own."""
    from PIL import ImageFont

    found = importlib.util.find_spec("matplotlib")  # found, not imported: that takes a while
    for folder in (found.submodule_search_locations or []) if found else []:
        file = Path(folder) / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
        if file.is_file():
            return ImageFont.truetype(str(file), size)
    return ImageFont.load_default(size)


def _wrapped(text: str, width: int, font: FreeTypeFont | ImageFont) -> list[str]:
    """The text in lines that fit, the last with an ellipsis where more would follow."""
    lines: list[str] = []
    for word in text.encode("utf-8", "replace").decode().split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    if len(lines) > LINES:
        lines = [*lines[: LINES - 1], f"{lines[LINES - 1]}…"]
    return [_cut(line, width, font) for line in lines]


def _cut(line: str, width: int, font: FreeTypeFont | ImageFont) -> str:
    if font.getlength(line) <= width:
        return line
    while line and font.getlength(f"{line}…") > width:
        line = line[:-1]
    return f"{line}…".replace("……", "…")
