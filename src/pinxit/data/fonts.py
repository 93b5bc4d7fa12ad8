"""The font of texts in images."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from PIL import ImageFont

FONT_PIXELS = 11

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def load_font(size: int = FONT_PIXELS) -> Font:
    """Load DejaVu Sans from matplotlib (it has accents, Greek, Cyrillic), or Pillow's font."""
    spec = importlib.util.find_spec("matplotlib")  # finding is fast, importing takes 0.3 s
    for folder in (spec.submodule_search_locations or []) if spec else []:
        file = Path(folder) / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
        if file.is_file():
            return ImageFont.truetype(str(file), size)
    return ImageFont.load_default(size)
