"""What general compressors need for the same images: a reference for bits per dimension.

-log2 p(x) is the length of a lossless code, so that a model of 8-bit values compares with a file
format. Images are stacked into strips, one file each: a header would else be a tenth of the file
of a small image.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator

import numpy as np
from PIL import Image

from pinxit.data.images import Images
from pinxit.evaluation.estimates import Estimate
from pinxit.evaluation.metrics import MetricValue

MAX_IMAGES = 2_000
IMAGES_PER_STRIP = 32
MAX_STRIP_HEIGHT = 16_383  # of a WebP file
FORMATS = {
    "png": {"format": "PNG", "optimize": True},
    "webp": {"format": "WebP", "lossless": True, "quality": 75, "method": 6},
}


def compression_metrics(images: Images) -> Iterator[MetricValue]:
    """Yield the mean bits per pixel value as PNG and as lossless WebP.

    The errors are over the strips.
    """
    strips = stack_images(images.evenly_spaced(MAX_IMAGES).pixels)
    for name, options in FORMATS.items():
        bits = [8 * len(encode(strip, options)) / strip.size for strip in strips]
        error = np.std(bits, ddof=1) / math.sqrt(len(bits)) if len(bits) > 1 else math.nan
        yield f"{name}_bits", Estimate(float(np.mean(bits)), float(error))


def stack_images(pixels: np.ndarray) -> list[np.ndarray]:
    """Stack images `[n, h, w, c]` into strips `[m * h, w, c]` of nearly equal numbers."""
    per_strip = max(1, min(IMAGES_PER_STRIP, MAX_STRIP_HEIGHT // pixels.shape[1]))
    parts = np.array_split(pixels, -(-len(pixels) // per_strip))
    return [part.reshape(-1, *part.shape[2:]) for part in parts]


def encode(strip: np.ndarray, options: dict[str, object]) -> bytes:
    """Return the file of a strip `[h, w, c]` of 1 or 3 channels."""
    file = io.BytesIO()
    image = Image.fromarray(strip[..., 0] if strip.shape[-1] == 1 else strip)
    image.save(file, **options)  # type: ignore[arg-type]
    return file.getvalue()
