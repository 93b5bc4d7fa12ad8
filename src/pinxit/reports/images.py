"""Images as they stand in the page: PNG in base64, at their own size, enlarged by the browser."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ERROR_COLOUR = (200, 64, 40)
CRISP = 64  # images up to this many pixels a side are enlarged without smoothing


@dataclass(frozen=True)
class Image:
    """An `<img>`: where its bytes are, what it shows in words, its size in its own pixels."""

    uri: str
    alt: str
    width: int
    height: int
    crisp: bool = True  # every pixel a square


def png_uri(array: np.ndarray) -> str:
    """uint8 `[height, width, channel]`, of 1 to 4 channels, as a `data:` address."""
    from PIL import Image as Pillow

    flat = array[..., 0] if array.shape[-1] == 1 else array
    with io.BytesIO() as file:
        Pillow.fromarray(np.ascontiguousarray(flat)).save(file, "PNG", optimize=True)
        return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def with_alpha(pixels: np.ndarray) -> np.ndarray:
    """`[..., channel]` with one more channel of full opacity; grey stays grey."""
    return np.concatenate([pixels, np.full_like(pixels[..., :1], 255)], axis=-1)


def sheet(pixels: np.ndarray, columns: int) -> np.ndarray:
    """Images `[n, h, w, c]` of c = 2 or 4 (with opacity) in rows, the gaps transparent."""
    n, h, w, c = pixels.shape
    columns = min(columns, n)
    rows, gap = -(-n // columns), max(1, max(h, w) // 14)
    out = np.zeros((rows * (h + gap) - gap, columns * (w + gap) - gap, c), np.uint8)
    for i, image in enumerate(pixels):
        top, left = i // columns * (h + gap), i % columns * (w + gap)
        out[top : top + h, left : left + w] = image
    return out


def shrunk(pixels: np.ndarray, longest: int) -> np.ndarray:
    """uint8 `[n, h, w, c]` made no larger than `longest` a side, so that the page stays small."""
    from PIL import Image as Pillow

    n, h, w, c = pixels.shape
    if max(h, w) <= longest or n == 0:
        return pixels
    scale = longest / max(h, w)
    size = (max(1, round(w * scale)), max(1, round(h * scale)))
    made = []
    for image in pixels:
        image = Pillow.fromarray(np.ascontiguousarray(image[..., 0] if c == 1 else image))
        made.append(np.asarray(image.resize(size, Pillow.Resampling.LANCZOS)))
    return np.stack(made).reshape(n, size[1], size[0], c)


def wall(pixels: np.ndarray, columns: int, alt: str) -> Image:
    """Images uint8 `[n, h, w, c]` in rows, as one image."""
    return of_array(sheet(with_alpha(pixels), columns), alt, crisp=max(pixels.shape[1:3]) <= CRISP)


def of_array(array: np.ndarray, alt: str, crisp: bool = True) -> Image:
    return Image(png_uri(array), alt, array.shape[1], array.shape[0], crisp)


def error_map(original: np.ndarray, made: np.ndarray, full: float) -> np.ndarray:
    """|error|, the channels' mean, as the opacity of one colour: uint8 `[..., h, w, 4]`.

    `full` is the error (of 255) that is drawn at full strength.
    """
    error = np.abs(original.astype(np.float32) - made.astype(np.float32)).mean(-1)
    strength = np.clip(error / max(full, 1e-6), 0, 1)
    colour = np.broadcast_to(np.array(ERROR_COLOUR, np.uint8), (*strength.shape, 3))
    return np.concatenate([colour, (strength * 255).astype(np.uint8)[..., None]], -1)


def as_rgba(pixels: np.ndarray) -> np.ndarray:
    """Grey or colour uint8 `[..., c]` as opaque RGBA."""
    colour = np.repeat(pixels, 3, axis=-1) if pixels.shape[-1] == 1 else pixels
    return with_alpha(colour)


def opened(path: Path, grey: bool) -> np.ndarray:
    """An image file as uint8 `[height, width, channel]`."""
    from PIL import Image as Pillow

    with Pillow.open(path) as image:
        array = np.asarray(image.convert("L" if grey else "RGB"))
    return array[..., None] if grey else array


def cells_of(array: np.ndarray, height: int, width: int, gap: int = 2) -> np.ndarray | None:
    """The images of a sheet that `Images.grid` laid out, at their own size `[n, h, w, c]`.

    None where the sheet is not one of images of this size.
    """
    down, across = array.shape[0] - gap, array.shape[1] - gap
    for scale in range(32, 0, -1):
        h, w = height * scale + gap, width * scale + gap
        if down % h or across % w or down <= 0 or across <= 0:
            continue
        if (array[::h][: down // h] != 255).any() or (array[:, ::w][:, : across // w] != 255).any():
            continue
        inner = array[gap:, gap:].reshape(down // h, h, across // w, w, -1)
        cells = inner.transpose(0, 2, 1, 3, 4)[:, :, :-gap:scale, :-gap:scale]
        return cells.reshape(-1, height, width, array.shape[2])
    return None
