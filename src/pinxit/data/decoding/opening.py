"""Open an image file: check its format and size before any pixel is decoded."""

from __future__ import annotations

import functools
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pinxit.data.decoding.native_messages import silence_native_messages
from pinxit.data.decoding.png_chunks import find_damaged_chunk
from pinxit.data.decoding.signatures import describe_content
from pinxit.data.formats import CAN_READ_HEIF, FORMATS

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

MAX_PIXELS = 89_478_485  # Pillow's own limit: 256 MiB at 3 bytes per pixel
MIN_SIDE = 2  # pixels

_ORIENTATION = 0x0112  # EXIF tag; 1 is upright, from 5 on width and height are swapped
_WIDTH, _HEIGHT = 256, 257  # TIFF tags


class UnreadableImage(Exception):
    """An image that cannot be read; the text is the reason."""


class UnknownFormat(UnreadableImage):
    """A file that Pillow does not open."""


@contextmanager
def ignore_pillow_warnings() -> Iterator[None]:
    """Silence Pillow's warnings; skipped images are reported with their reasons instead.

    Warning filters are global: enter this once around all threads, not in each thread.
    """
    silence_native_messages()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        yield


@contextmanager
def unreadable_on_error() -> Iterator[None]:
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


def open_image(content: bytes) -> ImageFile:
    """Open an image file without decoding it.

    Raises UnknownFormat for a file that Pillow does not open, UnreadableImage for one that is
    empty, too large or too small.
    """
    from PIL import Image, UnidentifiedImageError

    if not content:
        raise UnreadableImage("the file is empty")
    try:
        image = Image.open(io.BytesIO(content), formats=_list_formats())
    except UnidentifiedImageError:
        raise UnknownFormat(_describe_unknown(content)) from None
    except Image.DecompressionBombError as error:
        raise UnreadableImage(_describe_too_large(_largest_number(str(error)))) from None
    check_size(*image.size)
    return image


def check_size(width: int, height: int) -> None:
    """Raise UnreadableImage for an image of too many or too few pixels."""
    if width * height > MAX_PIXELS:
        raise UnreadableImage(
            f"{width:,} x {height:,} pixels: {_describe_too_large(width * height)}"
        )
    if min(width, height) < MIN_SIDE:
        raise UnreadableImage(f"{width} x {height} pixels: too small")


def orientation(image: Image) -> int:
    """Return the EXIF orientation of an image; 1 is upright."""
    return int(image.getexif().get(_ORIENTATION, 1)) if hasattr(image, "getexif") else 1


def upright_size(image: Image) -> tuple[int, int]:
    """Return the upright height and width of an opened image."""
    width, height = image.size
    if image.format == "TIFF":  # newer versions of Pillow turn its size when it is opened
        tags = getattr(image, "tag_v2", {})
        width, height = tags.get(_WIDTH, width), tags.get(_HEIGHT, height)
    return (width, height) if orientation(image) >= 5 else (height, width)


def apply_orientation(image: Image) -> Image:
    """Return the image upright."""
    if orientation(image) == 1:
        return image
    from PIL import ImageOps

    return ImageOps.exif_transpose(image)


@functools.cache
def _list_formats() -> tuple[str, ...]:
    """Return the names of the formats that this Pillow reads, after adding HEIF to it."""
    from PIL import Image

    if CAN_READ_HEIF:
        from pillow_heif import register_heif_opener  # pyright: ignore[reportMissingImports]

        register_heif_opener()
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _describe_unknown(content: bytes) -> str:
    if chunk := find_damaged_chunk(content):
        return f"damaged: the checksum of its PNG chunk {chunk} is wrong"
    return describe_content(content)


def _describe_too_large(pixels: int) -> str:
    return f"{pixels / 1e6:,.0f} megapixels, more than the limit of {MAX_PIXELS / 1e6:.0f}"


def _largest_number(text: str) -> int:
    return max((int(word) for word in text.replace("(", " ").split() if word.isdigit()), default=0)
