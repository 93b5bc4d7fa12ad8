"""Decode one image from bytes to uint8 pixels of a given size.

EXIF orientation and color profiles are applied, transparent pixels get a background, and 16-bit,
float, CMYK and palette images are converted; of an animation, the first frame is used. The header
is checked before any pixel is decoded.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeGuard, TypeVar

import numpy as np

from pinxit.data.decoding.conversion import FULL, Conversion
from pinxit.data.decoding.deep import read_tiff, read_tiff_size
from pinxit.data.decoding.opening import (
    UnknownFormat,
    UnreadableImage,
    check_size,
    open_image,
    unreadable_on_error,
    upright_size,
)
from pinxit.data.decoding.pixels import (
    USUAL,
    ImageFacts,
    array_to_8_bit,
    file_to_8_bit,
    is_ordinary,
)
from pinxit.data.decoding.png_chunks import drop_ancillary_chunks
from pinxit.data.decoding.resize import resize_to_fit, stretch
from pinxit.data.decoding.signatures import readable_format
from pinxit.data.load_options import Fit

if TYPE_CHECKING:
    from jaxtyping import UInt8
    from PIL.Image import Image

__all__ = [
    "UnreadableImage", "decode", "decode_stretched", "decode_with_facts", "examine", "is_grey",
    "read_size",
]  # fmt: skip

T = TypeVar("T")
Read = Callable[[], "bytes | np.ndarray"]
Target = tuple[int, int]  # height, width

GREY_TOLERANCE = 2  # levels that JPEG's rounding leaves between the channels of a grey image
EXAMINED_SIDE = 64  # pixels to which a JPEG may be reduced when only its values matter


def decode(
    read: Read,
    height: int,
    width: int,
    channels: int,
    fit: Fit,
    conversion: Conversion = Conversion(uint8=FULL),  # noqa: B008 (frozen)
) -> UInt8[np.ndarray, "height width channel"]:
    """Decode an image to a size and a number of channels (1 grey, 3 RGB).

    Where the proportions differ, `crop` keeps the middle, and `pad` fills with the median color of
    the corners. An image that has the size already is not resampled. What the conversion leaves
    open is chosen from this image alone.
    Raises UnreadableImage.
    """
    return decode_with_facts(read, height, width, channels, fit, conversion)[0]


def decode_with_facts(
    read: Read, height: int, width: int, channels: int, fit: Fit, conversion: Conversion
) -> tuple[UInt8[np.ndarray, "height width channel"], ImageFacts]:
    """Decode an image, and return what it says about the conversion of its set."""
    with unreadable_on_error():
        content = read()
        dims = (height, width, channels)
        if conversion.uint8 == FULL and _has_dims(content, dims):
            return content.reshape(dims), USUAL
        image, facts = _to_8_bit(content, (height, width), channels, conversion)
        image = resize_to_fit(image, height, width, fit, conversion.resample)
        return np.asarray(image, np.uint8).reshape(dims), facts


def decode_stretched(
    read: Read, height: int, width: int, channels: int, conversion: Conversion
) -> UInt8[np.ndarray, "height width channel"]:
    """Decode a whole image to a size, whatever its proportions.

    Raises UnreadableImage.
    """
    with unreadable_on_error():
        image, _ = _to_8_bit(read(), (height, width), channels, conversion)
        image = stretch(image, height, width, conversion.resample)
        return np.asarray(image, np.uint8).reshape(height, width, channels)


def examine(read: Read, conversion: Conversion) -> ImageFacts:
    """Return what an image says about the conversion of its set.

    An ordinary image is not decoded if the range of 8-bit values is known.
    Raises UnreadableImage.
    """
    with unreadable_on_error():
        content = read()
        target = (EXAMINED_SIDE, EXAMINED_SIDE)
        if conversion.uint8 == FULL and _is_ordinary(content):
            return USUAL
        return _to_8_bit(content, target, 3, conversion)[1]


def read_size(read: Read) -> Target:
    """Return the upright height and width of an image, from its header alone.

    Raises UnreadableImage.
    """
    with unreadable_on_error():
        content = read()
        if isinstance(content, np.ndarray):
            check_size(content.shape[1], content.shape[0])
            return content.shape[0], content.shape[1]
        return _with_repair(_read_file_size, content)


def is_grey(pixels: UInt8[np.ndarray, "height width 3"]) -> bool:
    """Return whether the three channels of an image are equal, up to JPEG's rounding."""
    signed = pixels.astype(np.int16)
    return bool(np.ptp(signed, axis=-1).max() <= GREY_TOLERANCE)


# -- files and arrays ------------------------------------------------------------------------------


def _has_dims(content: bytes | np.ndarray, dims: tuple[int, int, int]) -> TypeGuard[np.ndarray]:
    """Return whether the content is an array of 8-bit pixels of these dimensions."""
    if not isinstance(content, np.ndarray) or content.dtype != np.uint8:
        return False
    return content.shape in (dims, dims[:2] if dims[2] == 1 else dims)


def _is_ordinary(content: bytes | np.ndarray) -> bool:
    """Return whether a file or array has 8 bits, no alpha and no profile."""
    if isinstance(content, np.ndarray):
        return content.dtype == np.uint8 and content.shape[2:] in ((), (1,), (3,))
    try:
        return is_ordinary(open_image(content))
    except Exception:  # it may be readable all the same
        return False


def _to_8_bit(
    content: bytes | np.ndarray, target: Target, channels: int, conversion: Conversion
) -> tuple[Image, ImageFacts]:
    if isinstance(content, np.ndarray):
        check_size(content.shape[1], content.shape[0])
        return array_to_8_bit(content, channels, conversion)

    def convert(content: bytes, profile: bytes) -> tuple[Image, ImageFacts]:
        return _convert_file(content, profile, target, channels, conversion)

    return _with_repair(convert, content)


def _convert_file(
    content: bytes, profile: bytes, target: Target, channels: int, conversion: Conversion
) -> tuple[Image, ImageFacts]:
    try:
        image = open_image(content)
    except UnknownFormat:
        if "TIFF" not in readable_format(content):
            raise
        return array_to_8_bit(read_tiff(content), channels, conversion)
    if profile:
        image.info["icc_profile"] = profile
    num_frames = _count_frames(image)
    _reduce_while_decoding(image, target)
    converted, facts = file_to_8_bit(image, content, channels, conversion)
    converted.load()
    if num_frames > 1:
        facts = dataclasses.replace(facts, num_frames=num_frames)
    return converted, facts


def _with_repair(action: Callable[[bytes, bytes], T], content: bytes) -> T:
    """Do something with a file and ICC profile b""; on an error, again without ancillary chunks."""
    try:
        return action(content, b"")
    except Exception:
        repaired, profile = drop_ancillary_chunks(content)
        if len(repaired) == len(content):
            raise
        try:
            return action(repaired, profile)
        except Exception:  # the first error is the true one
            pass
        raise


def _read_file_size(content: bytes, profile: bytes) -> Target:
    try:
        return upright_size(open_image(content))
    except UnknownFormat:
        if "TIFF" not in readable_format(content):
            raise
        return read_tiff_size(content)


def _count_frames(image: Image) -> int:
    try:
        return getattr(image, "n_frames", 1)
    except Exception:  # a later frame is damaged
        image.seek(0)
        return 1


def _reduce_while_decoding(image: Image, target: Target) -> None:
    """Let a large JPEG decode at a half, quarter or eighth of its size, at least twice the target.

    Other formats are left alone.
    """
    if image.format in ("JPEG", "MPO"):  # MPO: a JPEG with several images, written by phones
        factor = 2 * max(target) / min(image.size)
        if factor < 1:
            image.draft(None, (round(image.width * factor), round(image.height * factor)))
