"""Decode one image from bytes to uint8 pixels of a given size.

EXIF orientation is applied, alpha is composited on white, and 16-bit, CMYK and palette images are
converted; of an animation, the first frame is used. The header is checked before any pixel is
decoded.
"""

from __future__ import annotations

import functools
import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from pinxit.data.formats import CAN_READ_HEIF, FORMATS
from pinxit.data.load_options import Fit

if TYPE_CHECKING:
    from jaxtyping import UInt8
    from PIL.Image import Image

MAX_PIXELS = 89_478_485  # Pillow's own limit: 256 MiB at 3 bytes per pixel
MIN_SIDE = 2  # pixels
GREY_TOLERANCE = 2  # levels that JPEG's rounding leaves between the channels of a grey image

_ORIENTATION = 0x0112  # EXIF tag; 1 is upright, from 5 on width and height are swapped
_SIXTEEN_BIT_MODES = ("I;16", "I;16B", "I;16L", "I;16N")


class UnreadableImage(Exception):
    """An image that cannot be read; the text is the reason."""


def decode(
    read: Callable[[], bytes | np.ndarray], height: int, width: int, channels: int, fit: Fit
) -> UInt8[np.ndarray, "height width channel"]:
    """Decode an image to a size and a number of channels (1 grey, 3 RGB).

    Where the proportions differ, `crop` keeps the middle, and `pad` fills with the median color of
    the corners. An image that has the size already is not resampled.
    Raises UnreadableImage.
    """
    with _unreadable_on_error():
        content = read()
        if isinstance(content, np.ndarray) and _has_dims(content, (height, width, channels)):
            return content.reshape(height, width, channels)
        image = _open(content)
        image = _apply_orientation(_reduce_while_decoding(image, height, width))
        image = _to_8_bit(image, channels)
        image = resize_to_fit(image, height, width, fit)
        return np.asarray(image, np.uint8).reshape(height, width, channels)


def read_size(read: Callable[[], bytes | np.ndarray]) -> tuple[int, int]:
    """Return the upright height and width of an image, from its header alone.

    Raises UnreadableImage.
    """
    with _unreadable_on_error():
        image = _open(read())
        width, height = image.size
        return (width, height) if _orientation(image) >= 5 else (height, width)


def is_grey(pixels: UInt8[np.ndarray, "height width 3"]) -> bool:
    """Return whether the three channels of an image are equal, up to JPEG's rounding."""
    signed = pixels.astype(np.int16)
    return bool(np.ptp(signed, axis=-1).max() <= GREY_TOLERANCE)


@contextmanager
def ignore_pillow_warnings() -> Iterator[None]:
    """Silence Pillow's warnings; skipped images are reported with their reasons instead.

    Warning filters are global: enter this once around all threads, not in each thread.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        yield


# -- opening ---------------------------------------------------------------------------------------


def _has_dims(pixels: np.ndarray, dims: tuple[int, int, int]) -> bool:
    return pixels.dtype == np.uint8 and pixels.shape in (dims, dims[:2] if dims[2] == 1 else dims)


@contextmanager
def _unreadable_on_error() -> Iterator[None]:
    """Raise UnreadableImage, with a readable reason, for every error in the block."""
    try:
        yield
    except UnreadableImage:
        raise
    except OSError as error:
        if error.errno is not None:
            raise UnreadableImage(f"cannot be opened: {error.strerror}") from None
        raise UnreadableImage(_describe_error(str(error))) from None
    except Exception as error:  # decoders raise nearly anything on malformed bytes
        raise UnreadableImage(_describe_error(str(error) or type(error).__name__)) from None


def _describe_error(text: str) -> str:
    text = text.splitlines()[0] if text else "damaged"
    is_truncated = "truncated" in text.lower() or "end of file" in text.lower()
    return "truncated" if is_truncated else f"cannot be decoded: {text}"


def _open(content: bytes | np.ndarray) -> Image:
    from PIL import Image, UnidentifiedImageError

    if isinstance(content, np.ndarray):
        pixels = content[..., 0] if content.ndim == 3 and content.shape[2] == 1 else content
        return _check_dims(Image.fromarray(np.ascontiguousarray(pixels)))
    if not content:
        raise UnreadableImage("the file is empty")
    try:
        return _check_dims(Image.open(io.BytesIO(content), formats=_formats()))
    except UnidentifiedImageError:
        raise UnreadableImage("not an image, or of an unknown format") from None
    except Image.DecompressionBombError as error:
        raise UnreadableImage(_describe_too_large(_largest_number(str(error)))) from None


@functools.cache
def _formats() -> tuple[str, ...]:
    """Return the names of the formats that this Pillow reads, after adding HEIF to it."""
    from PIL import Image

    if CAN_READ_HEIF:
        from pillow_heif import register_heif_opener  # pyright: ignore[reportMissingImports]

        register_heif_opener()
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _check_dims(image: Image) -> Image:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise UnreadableImage(
            f"{width:,} x {height:,} pixels: {_describe_too_large(width * height)}"
        )
    if min(width, height) < MIN_SIDE:
        raise UnreadableImage(f"{width} x {height} pixels: too small")
    return image


def _describe_too_large(pixels: int) -> str:
    return f"{pixels / 1e6:,.0f} megapixels, more than the limit of {MAX_PIXELS / 1e6:.0f}"


def _largest_number(text: str) -> int:
    return max((int(word) for word in text.replace("(", " ").split() if word.isdigit()), default=0)


# -- converting ------------------------------------------------------------------------------------


def _orientation(image: Image) -> int:
    return int(image.getexif().get(_ORIENTATION, 1)) if hasattr(image, "getexif") else 1


def _apply_orientation(image: Image) -> Image:
    if _orientation(image) == 1:
        return image
    from PIL import ImageOps

    return ImageOps.exif_transpose(image)


def _reduce_while_decoding(image: Image, height: int, width: int) -> Image:
    """Let a large JPEG decode at a half, quarter or eighth of its size, at least twice the target.

    Other formats are returned unchanged.
    """
    if image.format in ("JPEG", "MPO"):  # MPO: a JPEG with several images, written by phones
        scale = 2 * max(height, width) / min(image.size)
        if scale < 1:
            image.draft(None, (round(image.width * scale), round(image.height * scale)))
    return image


def _to_8_bit(image: Image, channels: int) -> Image:
    """Convert an image of any mode to mode L or RGB, with alpha composited on white."""
    from PIL import Image as Pillow

    if image.mode in (*_SIXTEEN_BIT_MODES, "I", "F"):
        image = Pillow.fromarray(_scale_to_uint8(np.asarray(image), image.mode))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Pillow.new("RGBA", image.size, "white")
        image = Pillow.alpha_composite(white, image).convert("RGB")
    elif image.mode not in ("L", "RGB"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    mode = "L" if channels == 1 else "RGB"
    if image.mode != mode:
        return image.convert(mode)
    image.load()
    return image


def _scale_to_uint8(values: np.ndarray, mode: str) -> UInt8[np.ndarray, "height width"]:
    """Scale 16-bit values by their full range, floats up to 1 by 255, others by their maximum."""
    maximum = float(np.nanmax(values)) if values.size else 0.0
    if mode in _SIXTEEN_BIT_MODES or (mode == "I" and maximum <= 65_535):
        white = 65_535.0
    elif mode == "F" and maximum <= 1:
        white = 1.0
    else:
        white = max(maximum, 255.0)
    scaled = np.nan_to_num(values.astype(np.float64) * (255 / white))
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


# -- resizing --------------------------------------------------------------------------------------


def resize_to_fit(image: Image, height: int, width: int, fit: Fit) -> Image:
    """Resize an image as `decode` does: crop or pad it if the proportions differ."""
    if image.size == (width, height):
        return image
    if fit == "pad":
        return _resize_and_pad(image, height, width)
    return _resample(image, width, height, crop_box(image.size, height, width))


def crop_box(
    image_size: tuple[int, int], height: int, width: int
) -> tuple[float, float, float, float]:
    """Return the largest centered box (left, top, right, bottom) with the target's proportions.

    `image_size` is (width, height), as in Pillow.
    """
    image_width, image_height = image_size
    scale = max(height / image_height, width / image_width)
    crop_width, crop_height = width / scale, height / scale
    left = max(0.0, (image_width - crop_width) / 2)
    top = max(0.0, (image_height - crop_height) / 2)
    # rounding may put an edge outside the image by 1e-14 pixels, which Pillow rejects
    right = min(float(image_width), left + crop_width)
    bottom = min(float(image_height), top + crop_height)
    return left, top, right, bottom


def _resize_and_pad(image: Image, height: int, width: int) -> Image:
    from PIL import Image as Pillow

    scale = min(height / image.height, width / image.width)
    inner_width = max(1, round(image.width * scale))
    inner_height = max(1, round(image.height * scale))
    corners = np.asarray(image)[[0, 0, -1, -1], [0, -1, 0, -1]]
    fill: Any = np.median(corners, axis=0).round().astype(int)
    canvas = Pillow.new(image.mode, (width, height), tuple(np.atleast_1d(fill).tolist()))
    inner = _resample(image, inner_width, inner_height, (0, 0, *image.size))
    canvas.paste(inner, ((width - inner_width) // 2, (height - inner_height) // 2))
    return canvas


def _resample(
    image: Image, width: int, height: int, box: tuple[float, float, float, float]
) -> Image:
    """Resize a box (left, top, right, bottom): bicubic to enlarge, Lanczos to reduce."""
    from PIL.Image import Resampling

    is_enlarged = width > box[2] - box[0]
    filter_ = Resampling.BICUBIC if is_enlarged else Resampling.LANCZOS
    return image.resize((width, height), filter_, box=box, reducing_gap=3.0)
