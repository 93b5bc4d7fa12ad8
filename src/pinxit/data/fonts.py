"""The font of texts in images."""

from __future__ import annotations

from pathlib import Path

from PIL import ImageFont

FONT = Path(__file__).parent / "fonts" / "DejaVuSans.ttf"
FONT_PIXELS = 11

Font = ImageFont.FreeTypeFont


def load_font(size: int = FONT_PIXELS) -> Font:
    """Load DejaVu Sans, which has accents, Greek and Cyrillic; Pillow's own font has none."""
    return ImageFont.truetype(str(FONT), size)
