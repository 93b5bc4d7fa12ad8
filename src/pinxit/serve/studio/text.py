"""Texts of runs, which may be a stranger's, and PNG files, as the page takes them."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from pinxit.data.images import Images


def clean_text(value: Any, max_chars: int) -> str:
    """Return a text on one line without control characters, shortened; "" for anything else."""
    if not isinstance(value, str):
        return ""
    text = "".join(c if c.isprintable() else " " for c in value[: 4 * max_chars])
    text = " ".join(text.split())
    return text if len(text) <= max_chars else text[: max_chars - 1] + "…"


def to_png(pixels: np.ndarray) -> bytes:
    return Images(np.ascontiguousarray(pixels)[None]).to_png()


def to_base64_png(pixels: np.ndarray) -> str:
    return base64.b64encode(to_png(pixels)).decode()
