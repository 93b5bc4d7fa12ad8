"""One image's bytes to uint8 pixels of the wanted size.

Orientation tags are honoured, alpha is composited on white, 16-bit, CMYK and palette images are
converted, of an animation the first frame is taken. What the header says is checked before any
pixel is decoded.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from pinxit.data.load_options import Fit

if TYPE_CHECKING:
    from jaxtyping import UInt8
    from PIL.Image import Image

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
MAX_PIXELS = 89_478_485  # Pillow's own bound: a quarter of a GiB at 3 bytes a pixel
MIN_SIDE = 2  # below this an image has nothing to show
GREY_TOLERANCE = 2  # levels between channels that JPEG's rounding may leave in a grey image

_ORIENTATION = 0x0112  # the EXIF tag
_SIXTEEN_BIT = ("I;16", "I;16B", "I;16L", "I;16N")


class UnreadableImage(Exception):
    """An image cannot be read; the text is the reason."""


def decode(
    read: Callable[[], bytes | np.ndarray], height: int, width: int, channels: int, fit: Fit
) -> UInt8[np.ndarray, "height width channel"]:
    """One image at the wanted size and number of channels (1 grey, 3 colour).

    `crop` cuts the middle out to the wanted proportions, `pad` keeps all and fills with the colour
    of the image's corners. An image that has the wanted size already is not resampled.
    Raises Unreadable.
    """
    with _reasons():
        content = read()
        if isinstance(content, np.ndarray) and _fits(content, (height, width, channels)):
            return content.reshape(height, width, channels)
        image = _open(content)
        image = _upright(_reduced_while_decoding(image, height, width))
        image = _eight_bit(image, channels)
        image = _fitted(image, height, width, fit)
        return np.asarray(image, np.uint8).reshape(height, width, channels)


def read_size(read: Callable[[], bytes | np.ndarray]) -> tuple[int, int]:
    """Height and width, the right way up, from the header alone. Raises Unreadable."""
    with _reasons():
        image = _open(read())
        width, height = image.size
        return (width, height) if _orientation(image) >= 5 else (height, width)


def is_grey(pixels: UInt8[np.ndarray, "height width 3"]) -> bool:
    """Whether an image's three channels are one, to within JPEG's rounding."""
    signed = pixels.astype(np.int16)
    return bool(np.ptp(signed, axis=-1).max() <= GREY_TOLERANCE)


def _fits(pixels: np.ndarray, dims: tuple[int, int, int]) -> bool:
    return pixels.dtype == np.uint8 and pixels.shape in (dims, dims[:2] if dims[2] == 1 else dims)


@contextmanager
def _reasons() -> Iterator[None]:
    """Whatever goes wrong in a file that others wrote becomes a reason, in words."""
    try:
        yield
    except UnreadableImage:
        raise
    except OSError as error:
        if error.errno is not None:
            raise UnreadableImage(f"cannot be opened: {error.strerror}") from None
        raise UnreadableImage(_broken(str(error))) from None
    except Exception as error:  # decoders raise nearly anything on malformed bytes
        raise UnreadableImage(_broken(str(error) or type(error).__name__)) from None


def _broken(text: str) -> str:
    text = text.splitlines()[0] if text else "broken"
    truncated = "truncated" in text.lower() or "end of file" in text.lower()
    return "truncated" if truncated else f"cannot be decoded: {text}"


def _open(content: bytes | np.ndarray) -> Image:
    from PIL import Image, UnidentifiedImageError

    if isinstance(content, np.ndarray):
        pixels = content[..., 0] if content.ndim == 3 and content.shape[2] == 1 else content
        return _sensible(Image.fromarray(np.ascontiguousarray(pixels)))
    if not content:
        raise UnreadableImage("the file is empty")
    try:
        return _sensible(Image.open(io.BytesIO(content), formats=FORMATS))
    except UnidentifiedImageError:
        raise UnreadableImage("not an image, whatever its name says") from None
    except Image.DecompressionBombError as error:
        raise UnreadableImage(_too_large(_pixels_in(str(error)))) from None


def _sensible(image: Image) -> Image:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise UnreadableImage(f"{width:,} x {height:,} pixels: {_too_large(width * height)}")
    if min(width, height) < MIN_SIDE:
        raise UnreadableImage(f"{width} x {height} pixels: too small")
    return image


def _too_large(pixels: int) -> str:
    return f"{pixels / 1e6:,.0f} megapixels, more than the {MAX_PIXELS / 1e6:.0f} that are decoded"


def _pixels_in(text: str) -> int:
    return max((int(word) for word in text.replace("(", " ").split() if word.isdigit()), default=0)


@contextmanager
def ignore_pillow_warnings() -> Iterator[None]:
    """Pillow's warnings are silenced: of what is refused the reason is told instead.

    Filters are the process's own: enter this once around all threads, not in each.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        yield


def _orientation(image: Image) -> int:
    # 1 is upright; from 5 on width and height change places
    return int(image.getexif().get(_ORIENTATION, 1)) if hasattr(image, "getexif") else 1


def _upright(image: Image) -> Image:
    if _orientation(image) == 1:
        return image
    from PIL import ImageOps

    return ImageOps.exif_transpose(image)


def _reduced_while_decoding(image: Image, height: int, width: int) -> Image:
    """A JPEG far too large is decoded at a half, quarter or eighth, still twice what is needed."""
    if image.format in ("JPEG", "MPO"):  # MPO: a JPEG with several images, as phones write
        scale = 2 * max(height, width) / min(image.size)
        if scale < 1:
            image.draft(None, (round(image.width * scale), round(image.height * scale)))
    return image


def _eight_bit(image: Image, channels: int) -> Image:
    from PIL import Image as Pillow

    if image.mode in (*_SIXTEEN_BIT, "I", "F"):
        image = Pillow.fromarray(_scaled(np.asarray(image), image.mode))
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


def _scaled(values: np.ndarray, mode: str) -> UInt8[np.ndarray, "height width"]:
    """Deep grey to 8 bits: 16-bit by its full range, floats up to 1 by theirs, else by the most."""
    top = float(np.nanmax(values)) if values.size else 0.0
    if mode in _SIXTEEN_BIT or (mode == "I" and top <= 65_535):
        full = 65_535.0
    elif mode == "F" and top <= 1:
        full = 1.0
    else:
        full = max(top, 255.0)
    scaled = np.nan_to_num(values.astype(np.float64) * (255 / full))
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def resize_to(image: Image, width: int, height: int, fit: Fit) -> Image:
    """An image at another size, as `decode` has it."""
    return _fitted(image, height, width, fit)


def _fitted(image: Image, height: int, width: int, fit: Fit) -> Image:
    if image.size == (width, height):
        return image
    if fit == "pad":
        return _padded(image, height, width)
    scale = max(height / image.height, width / image.width)
    across, down = width / scale, height / scale  # of the image, what is kept
    left, top = (image.width - across) / 2, (image.height - down) / 2
    return _resized(image, width, height, (left, top, left + across, top + down))


def _padded(image: Image, height: int, width: int) -> Image:
    from PIL import Image as Pillow

    scale = min(height / image.height, width / image.width)
    inner_width = max(1, round(image.width * scale))
    inner_height = max(1, round(image.height * scale))
    corners = np.asarray(image)[[0, 0, -1, -1], [0, -1, 0, -1]]
    filling: Any = np.median(corners, axis=0).round().astype(int)
    sheet = Pillow.new(image.mode, (width, height), tuple(np.atleast_1d(filling).tolist()))
    inner = _resized(image, inner_width, inner_height, (0, 0, *image.size))
    sheet.paste(inner, ((width - inner_width) // 2, (height - inner_height) // 2))
    return sheet


def _resized(
    image: Image, width: int, height: int, box: tuple[float, float, float, float]
) -> Image:
    from PIL.Image import Resampling

    enlarged = width > box[2] - box[0]
    how = Resampling.BICUBIC if enlarged else Resampling.LANCZOS
    return image.resize((width, height), how, box=box, reducing_gap=3.0)
