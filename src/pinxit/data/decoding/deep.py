"""Read values of more than 8 bits, which Pillow would cut off: integers and floats.

Pillow keeps the upper 8 of 16 bits of color. The lower ones are read by a second decoding that
takes the bytes in the other order.
"""

from __future__ import annotations

import io
import logging
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from pinxit.data.decoding.opening import UnreadableImage, check_size, orientation
from pinxit.data.formats import TO_TIFF

if TYPE_CHECKING:
    from jaxtyping import Num
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

DEEP_MODES = ("I;16", "I;16B", "I;16L", "I;16N", "I", "F")
_OTHER_ORDER = {"16B": "16L", "16L": "16B", "16N": "16B" if np.little_endian else "16L"}
_PLANAR, _SAMPLE_FORMAT, _BITS, _ORIENTATION = 284, 339, 258, 274  # TIFF tags
_UNSIGNED, _SIGNED = 1, 2  # sample formats


def is_deep(image: ImageFile) -> bool:
    """Return whether an opened image has values of more than 8 bits, or signed ones."""
    return (
        image.mode in DEEP_MODES
        or (image.format in ("PNG", "TIFF") and _is_16_bit_color(image))
        or (image.format == "TIFF" and _needs_tifffile(image))
    )


def read_deep(image: ImageFile, content: bytes) -> Num[np.ndarray, "height width *channel"]:
    """Return the values of an opened image for which `is_deep` holds, upright.

    They are grey `[height, width]`, or have 2 to 4 channels: grey with alpha, RGB, RGB with alpha.
    """
    if image.format == "TIFF" and _needs_tifffile(image):
        return read_tiff(content)
    key = image.info.get("transparency")
    values = np.asarray(image) if image.mode in DEEP_MODES else _read_16_bit_color(image, content)
    # after decoding: Pillow turns some formats itself
    return _turn_upright(_add_key_as_alpha(values, key), orientation(image))


def _turn_upright(values: np.ndarray, orientation: int) -> np.ndarray:
    """Turn and flip values as an EXIF orientation says (EXIF 2.3, 4.6.4 A)."""
    if orientation >= 5:
        values = values.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    return values


def _raw_mode(tile: Any) -> str:
    """Return how a tile of an opened image is stored, such as `RGB;16B`; "" if it is not known."""
    args = tile.args if hasattr(tile, "args") else tile[3]
    raw = args[0] if isinstance(args, tuple) and args else args
    return raw if isinstance(raw, str) else ""


def _is_16_bit_color(image: ImageFile) -> bool:
    raw_mode = _raw_mode(image.tile[0]) if image.tile else ""
    name, _, order = raw_mode.partition(";")
    return name in ("LA", "RGB", "RGBA") and order in _OTHER_ORDER


def _read_16_bit_color(image: ImageFile, content: bytes) -> Num[np.ndarray, "height width channel"]:
    from PIL import Image as Pillow

    second = Pillow.open(io.BytesIO(content), formats=[image.format or "PNG"])
    if _raw_mode(image.tile[0]) == "LA;16B":  # has 32 bits per pixel, as 8-bit RGBA has
        second.tile = [_with_raw_mode(tile, "RGBA") for tile in second.tile]
        four = np.asarray(second).astype(np.uint16)
        return four[..., [0, 2]] * 256 + four[..., [1, 3]]
    second.tile = [_with_raw_mode(tile, _swap(_raw_mode(tile))) for tile in second.tile]
    return np.asarray(image).astype(np.uint16) * 256 + np.asarray(second)


def _with_raw_mode(tile: Any, raw_mode: str) -> Any:
    args = tile.args
    return tile._replace(args=(raw_mode, *args[1:]) if isinstance(args, tuple) else raw_mode)


def _swap(raw_mode: str) -> str:
    name, _, order = raw_mode.partition(";")
    return f"{name};{_OTHER_ORDER[order]}"


def _add_key_as_alpha(values: np.ndarray, key: object) -> np.ndarray:
    """Add an alpha channel where a PNG names one gray or color that is transparent."""
    if not isinstance(key, int | tuple) or values.dtype.kind == "f":
        return values
    values = values if values.ndim == 3 else values[..., None]
    if values.shape[-1] != np.size(key):
        return values
    opaque = (values != np.asarray(key)).any(axis=-1, keepdims=True)
    return np.concatenate([values, (opaque * 65_535).astype(values.dtype)], axis=-1)


# -- TIFF files of kinds that Pillow does not read -------------------------------------------------


def _needs_tifffile(image: Image) -> bool:
    """Return whether Pillow would misread a TIFF.

    It takes signed bytes for unsigned and 32 unsigned bits for signed, and planes for 8 bits deep.
    """
    tags: Any = getattr(image, "tag_v2", {})
    bits = max(np.atleast_1d(tags.get(_BITS, 8)))
    format_ = max(np.atleast_1d(tags.get(_SAMPLE_FORMAT, _UNSIGNED)))
    is_misread = (bits, format_) in ((8, _SIGNED), (32, _UNSIGNED))
    return is_misread or (bits > 8 and tags.get(_PLANAR, 1) == 2)


def read_tiff(content: bytes) -> Num[np.ndarray, "height width *channel"]:
    """Return the values of the first page of a TIFF, upright.

    Raises UnreadableImage for one that has no pixels `[height, width]` with 1 to 4 channels.
    """
    with _first_page(content) as page:
        num_channels, extra = page.samplesperpixel, [int(e) for e in page.extrasamples]
        is_alpha = extra in ([1], [2])
        if num_channels > 4 or (num_channels in (2, 4) and not extra) or page.imagedepth > 1:
            raise UnreadableImage(f"a TIFF of {num_channels} channels; {TO_TIFF}")
        values = page.asarray()
        if values.ndim == 3 and page.planarconfig == 2:
            values = np.moveaxis(values, 0, -1)
        if extra and not is_alpha:
            values = values[..., : num_channels - len(extra)]
        return _turn_upright(values, page.tags.valueof(_ORIENTATION, 1))


def read_tiff_size(content: bytes) -> tuple[int, int]:
    """Return the upright height and width of a TIFF that Pillow does not open."""
    with _first_page(content) as page:
        height, width = page.imagelength, page.imagewidth
        return (width, height) if page.tags.valueof(_ORIENTATION, 1) >= 5 else (height, width)


@contextmanager
def _first_page(content: bytes) -> Iterator[Any]:
    """Open a TIFF and check its size. Raises UnreadableImage for every error in the block."""
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # the reason is in the exception
    try:
        with tifffile.TiffFile(io.BytesIO(content)) as file:
            page: Any = file.pages[0]
            check_size(page.imagewidth, page.imagelength)
            yield page
    except UnreadableImage:
        raise
    except Exception as error:  # tifffile raises many types
        if isinstance(error, IndexError | struct.error):
            raise UnreadableImage("a damaged TIFF file") from None
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UnreadableImage(f"a TIFF of a kind that is not read ({reason}); {TO_TIFF}") from None
