"""Encode pixels as the bytes of an image file."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from pinxit.data.image_suffixes import IMAGE_SUFFIXES as IMAGE_SUFFIXES

# suffix of a file -> its format in Pillow and the options of saving it
FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    ".png": ("PNG", {}),
    ".jpg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".jpeg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".webp": ("WEBP", {"lossless": True}),
}
PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16")  # of Pillow; others become TIFF


def to_pil(pixels: UInt8[np.ndarray, "height width channel"]) -> Image.Image:
    """Return pixels of 1 or 3 channels as a Pillow image."""
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def encode_image(image: Image.Image, suffix: str = ".png") -> bytes:
    """Return the bytes of a file in the format of a suffix in `IMAGE_SUFFIXES`."""
    kind, options = FORMATS[suffix.lower()]
    with io.BytesIO() as file:
        image.save(file, kind, **options)
        return file.getvalue()


def encode_losslessly(image: Image.Image) -> bytes:
    """Return the bytes of a file with all values of an image of any mode."""
    with io.BytesIO() as file:
        image.save(file, "PNG" if image.mode in PNG_MODES else "TIFF")
        return file.getvalue()


def transcode_png(png: bytes, path: Path) -> bytes:
    """Return a PNG file's bytes in the format that the suffix of a path names."""
    if path.suffix.lower() == ".png":
        return png
    with Image.open(io.BytesIO(png)) as image:
        return encode_image(image, path.suffix)
