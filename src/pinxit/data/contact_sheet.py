"""A contact sheet: a grid of images with a text under each."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

from PIL import Image, ImageDraw, PngImagePlugin

from pinxit.data.fonts import FONT_PIXELS, Font, load_font
from pinxit.data.images import Images
from pinxit.data.skipped import SHEET_SOFTWARE
from pinxit.errors import UsageError

CELL_PIXELS = 96  # small images are enlarged to about this size
GAP_PIXELS = 10
MAX_LINES = 5  # of text under an image
LINE_PIXELS = FONT_PIXELS + 3
TEXT_COLOR = (60, 60, 60)
BORDER_COLOR = (225, 225, 225)  # around each image, so that a white one has visible edges


def cell_texts(images: Images, language: str | None = None) -> list[str]:
    """Return the text for each image: its caption, or else its label, or else its name.

    `language` selects the captions; by default it is the first.
    Raises UsageError if there are no captions in that language.
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
    """Draw a contact sheet, and return it as the bytes of a PNG file.

    Raises UsageError if there are no images.
    """
    if len(images) == 0:
        raise UsageError("there are no images to show.")
    scale = max(1, round(CELL_PIXELS / max(images.height, images.width)))
    height, width = images.height * scale, images.width * scale
    cell_width = max(width, CELL_PIXELS)
    columns = min(columns or _num_columns(len(images)), len(images))
    font = load_font()
    wrapped = [_wrap(text, cell_width, font) for text in texts]
    tops = _row_tops(wrapped, columns, height)
    sheet = Image.new("RGB", (columns * (cell_width + GAP_PIXELS) + GAP_PIXELS, tops[-1]), "white")
    draw = ImageDraw.Draw(sheet)
    for i, lines in enumerate(wrapped):
        cell_left = GAP_PIXELS + i % columns * (cell_width + GAP_PIXELS)
        left, top = cell_left + (cell_width - width) // 2, tops[i // columns]
        image = images.pil(i).resize((width, height), Image.Resampling.NEAREST)
        sheet.paste(image, (left, top))
        draw.rectangle((left - 1, top - 1, left + width, top + height), outline=BORDER_COLOR)
        for row, line in enumerate(lines):
            middle = cell_left + cell_width / 2, top + height + 3 + row * LINE_PIXELS
            draw.text(middle, line, font=font, fill=TEXT_COLOR, anchor="ma")
    with io.BytesIO() as file:
        sheet.save(file, "PNG", pnginfo=_signature())
        return file.getvalue()


def _num_columns(count: int) -> int:
    """Return the columns of a grid somewhat wider than high with the fewest empty cells."""
    target = max(1, round(math.sqrt(1.3 * count)))
    return min(
        range(max(1, target - 2), target + 2), key=lambda n: (-count % n, abs(n - target), -n)
    )


def _signature() -> PngImagePlugin.PngInfo:
    """Mark a sheet, so that one that is written into a folder of images is not one of them."""
    info = PngImagePlugin.PngInfo()
    info.add_text("Software", SHEET_SOFTWARE)
    return info


def _row_tops(wrapped: Sequence[Sequence[str]], columns: int, height: int) -> list[int]:
    """Return the y coordinate of each row of images, and of the sheet's end."""
    tops = [GAP_PIXELS]
    for start in range(0, len(wrapped), columns):
        num_lines = max(len(lines) for lines in wrapped[start : start + columns])
        tops.append(tops[-1] + height + num_lines * LINE_PIXELS + GAP_PIXELS)
    return tops


def _wrap(text: str, width: int, font: Font) -> list[str]:
    """Break a text into at most `MAX_LINES` lines; an ellipsis marks what does not fit."""
    lines: list[str] = []
    for word in text.encode("utf-8", "replace").decode().split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    if len(lines) > MAX_LINES:
        lines = [*lines[: MAX_LINES - 1], f"{lines[MAX_LINES - 1]}…"]
    return [_shorten(line, width, font) for line in lines]


def _shorten(line: str, width: int, font: Font) -> str:
    if font.getlength(line) <= width:
        return line
    while line and font.getlength(f"{line}…") > width:
        line = line[:-1]
    return f"{line}…".replace("……", "…")
