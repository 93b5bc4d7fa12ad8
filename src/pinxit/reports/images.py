"""Images embedded in the HTML report: PNG in base64, enlarged by the browser.

Pixel arrays are uint8 `[n, height, width, channel]` for several images and
`[height, width, channel]` for one.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

ERROR_COLOR = (200, 64, 40)  # RGB of error maps and attention maps
MAX_PIXELATED_SIDE = 64  # pixels; the browser enlarges larger images with smoothing


@dataclass(frozen=True)
class InlineImage:
    """An `<img>` element whose `uri` holds the image itself; width and height in image pixels."""

    uri: str
    alt: str
    width: int
    height: int
    pixelated: bool = True  # enlarge without smoothing


def inline_image(array: np.ndarray, alt: str, pixelated: bool = True) -> InlineImage:
    """Embed one array of 1 to 4 channels."""
    return InlineImage(encode_png_uri(array), alt, array.shape[1], array.shape[0], pixelated)


def inline_grid(pixels: np.ndarray, columns: int, alt: str) -> InlineImage:
    """Embed several images as one, row by row, with transparent gaps."""
    return inline_image(make_grid(add_alpha(pixels), columns), alt, is_small(pixels[0]))


def is_small(image: np.ndarray) -> bool:
    """Return whether an image is small enough to be enlarged without smoothing."""
    return max(image.shape[:2]) <= MAX_PIXELATED_SIDE


def encode_png_uri(array: np.ndarray) -> str:
    """Encode uint8 `[height, width, channel]` of 1 to 4 channels as a `data:` URI."""
    flat = array[..., 0] if array.shape[-1] == 1 else array
    with io.BytesIO() as file:
        Image.fromarray(np.ascontiguousarray(flat)).save(file, "PNG", optimize=True)
        return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def add_alpha(pixels: np.ndarray) -> np.ndarray:
    """Append an opaque alpha channel; grey images become 2 channels, color images 4."""
    return np.concatenate([pixels, np.full_like(pixels[..., :1], 255)], axis=-1)


def to_rgba(pixels: np.ndarray) -> np.ndarray:
    """Convert grey or color images `[..., c]` to opaque RGBA `[..., 4]`."""
    rgb = np.repeat(pixels, 3, axis=-1) if pixels.shape[-1] == 1 else pixels
    return add_alpha(rgb)


def make_grid(pixels: np.ndarray, columns: int) -> np.ndarray:
    """Lay images with an alpha channel, `[n, h, w, 2 or 4]`, out in rows with transparent gaps."""
    n, h, w, c = pixels.shape
    columns = min(columns, n)
    rows, gap = -(-n // columns), max(1, max(h, w) // 14)
    grid = np.zeros((rows * (h + gap) - gap, columns * (w + gap) - gap, c), np.uint8)
    for i, image in enumerate(pixels):
        top, left = i // columns * (h + gap), i % columns * (w + gap)
        grid[top : top + h, left : left + w] = image
    return grid


def shrink(pixels: np.ndarray, max_side: int) -> np.ndarray:
    """Shrink images `[n, h, w, c]` so that no side exceeds `max_side`; never enlarge."""
    n, h, w, c = pixels.shape
    if max(h, w) <= max_side or n == 0:
        return pixels
    scale = max_side / max(h, w)
    size = (max(1, round(w * scale)), max(1, round(h * scale)))
    resized = [_resize(image, size) for image in pixels]
    return np.stack(resized).reshape(n, size[1], size[0], c)


def _resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    flat = np.ascontiguousarray(image[..., 0] if image.shape[-1] == 1 else image)
    return np.asarray(Image.fromarray(flat).resize(size, Image.Resampling.LANCZOS))


def make_error_map(original: np.ndarray, other: np.ndarray, full_scale: float) -> np.ndarray:
    """Return the absolute error, averaged over channels, as RGBA `[..., h, w, 4]`.

    The color is `ERROR_COLOR`; the opacity is proportional to the error and reaches 1 at
    `full_scale` (in grey levels, 0 to 255).
    """
    error = np.abs(original.astype(np.float32) - other.astype(np.float32)).mean(-1)
    opacity = np.clip(error / max(full_scale, 1e-6), 0, 1)
    color = np.broadcast_to(np.array(ERROR_COLOR, np.uint8), (*opacity.shape, 3))
    return np.concatenate([color, (opacity * 255).astype(np.uint8)[..., None]], -1)


def read_image(path: Path, grey: bool) -> np.ndarray:
    """Read an image file as uint8 `[height, width, channel]`."""
    with Image.open(path) as image:
        array = np.asarray(image.convert("L" if grey else "RGB"))
    return array[..., None] if grey else array


def split_grid(array: np.ndarray, height: int, width: int, gap: int = 2) -> np.ndarray | None:
    """Cut a grid written by `Images.grid` into its images, `[n, h, w, c]` at their original size.

    Returns None if the array is not a grid of images of this size.
    """
    content_height, content_width = array.shape[0] - gap, array.shape[1] - gap
    for scale in range(32, 0, -1):  # the grid enlarged its images by a whole number
        h, w = height * scale + gap, width * scale + gap
        if content_height % h or content_width % w or content_height <= 0 or content_width <= 0:
            continue
        rows, columns = content_height // h, content_width // w
        if _is_not_white(array[::h][:rows]) or _is_not_white(array[:, ::w][:, :columns]):
            continue
        inner = array[gap:, gap:].reshape(rows, h, columns, w, -1)
        cells = inner.transpose(0, 2, 1, 3, 4)[:, :, :-gap:scale, :-gap:scale]
        return cells.reshape(-1, height, width, array.shape[2])
    return None


def _is_not_white(gap_pixels: np.ndarray) -> bool:
    """Return whether any pixel of a supposed gap is not white."""
    return bool((gap_pixels != 255).any())
