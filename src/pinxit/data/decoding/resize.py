"""Resize an image to a size: crop or pad it, smoothly or with hard edges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pinxit.data.decoding.conversion import Resample
from pinxit.data.load_options import Fit

if TYPE_CHECKING:
    from jaxtyping import UInt8
    from PIL.Image import Image

Box = tuple[float, float, float, float]  # left, top, right, bottom

MAX_ART_COLORS = 64  # of pixel art,
MAX_ART_GREYS = 4  # of grey, as small grey images have few levels anyway,
MIN_ART_PIXELS = 8  # per color, so that tiny photos are none,
MIN_EQUAL_SHARE = 0.5  # of whose neighboring pixels so many are equal, unless it has
FEW_COLORS = 16  # at most,
MIN_EDGE_LEVELS = 24  # and which differ by so much, in the median, where they are not equal
NUM_PROBES = 16  # blocks that are inspected before all are


def resize_to_fit(
    image: Image, height: int, width: int, fit: Fit, resample: Resample = "auto"
) -> Image:
    """Resize an image of mode L or RGB: crop or pad it if the proportions differ.

    `auto` keeps the hard edges of pixel art: of an image whose blocks of k x k equal pixels become
    one pixel each, and of one with few colors that is enlarged by a whole factor. Everything else
    is enlarged by bicubic interpolation and reduced by Lanczos', as with `lanczos`.
    """
    if image.size == (width, height):
        return image
    if fit == "pad":
        return _resize_and_pad(image, height, width, resample)
    box = crop_box(image.size, height, width)
    return _resample(image, width, height, box, resample)


def crop_box(image_size: tuple[int, int], height: int, width: int) -> Box:
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


def inner_size(image_size: tuple[int, int], height: int, width: int) -> tuple[int, int]:
    """Return the size (width, height) of a whole image within a height and width."""
    scale = min(height / image_size[1], width / image_size[0])
    return max(1, round(image_size[0] * scale)), max(1, round(image_size[1] * scale))


def corner_color(image: Image) -> tuple[int, ...]:
    """Return the median color of the corners."""
    corners = np.asarray(image)[[0, 0, -1, -1], [0, -1, 0, -1]]
    return tuple(np.atleast_1d(np.median(corners, axis=0).round().astype(int)).tolist())


def pad(image: Image, height: int, width: int, color: tuple[int, ...] | None = None) -> Image:
    """Put an image in the middle of a larger one of a color, or the median of its corners."""
    if image.size == (width, height):
        return image
    from PIL import Image as Pillow

    fill: Any = corner_color(image) if color is None else color
    canvas = Pillow.new(image.mode, (width, height), fill)
    canvas.paste(image, ((width - image.width) // 2, (height - image.height) // 2))
    return canvas


def stretch(image: Image, height: int, width: int, resample: Resample = "auto") -> Image:
    """Resize a whole image to a size, whatever its proportions."""
    if image.size == (width, height):
        return image
    return _resample(image, width, height, (0, 0, *image.size), resample)


def _resize_and_pad(image: Image, height: int, width: int, resample: Resample) -> Image:
    inner_width, inner_height = inner_size(image.size, height, width)
    inner = _resample(image, inner_width, inner_height, (0, 0, *image.size), resample)
    return pad(inner, height, width, corner_color(image))


def _resample(image: Image, width: int, height: int, box: Box, resample: Resample) -> Image:
    from PIL.Image import Resampling

    is_enlarged = width > box[2] - box[0]
    if resample == "auto" and _keeps_edges(image, width, height, box):
        resample = "nearest"
    if resample == "nearest":
        return image.resize((width, height), Resampling.NEAREST, box=box)
    if resample == "area":
        return image.resize((width, height), Resampling.BOX, box=box)
    filter_ = Resampling.BICUBIC if is_enlarged else Resampling.LANCZOS
    return image.resize((width, height), filter_, box=box, reducing_gap=3.0)


# -- pixel art -------------------------------------------------------------------------------------


def _keeps_edges(image: Image, width: int, height: int, box: Box) -> bool:
    """Return whether the nearest pixels are the better choice for this box and size."""
    left, top, right, bottom = (round(side) for side in box)
    if max(abs(a - b) for a, b in zip((left, top, right, bottom), box, strict=True)) > 1e-6:
        return False
    box_width, box_height = right - left, bottom - top
    if factor := _whole_factor((box_width, width), (box_height, height)):
        if factor == 1 or not _may_have_blocks(image, (left, top, right, bottom), factor):
            return False
        return _has_constant_blocks(np.asarray(image)[top:bottom, left:right], factor)
    if (factor := _whole_factor((width, box_width), (height, box_height))) > 1:
        return _is_pixel_art(np.asarray(image)[top:bottom, left:right])
    return False


def _whole_factor(*pairs: tuple[int, int]) -> int:
    """Return the whole number that the first of each pair is times the second; 0 for none."""
    factors = {large // small if small and large % small == 0 else 0 for large, small in pairs}
    return factors.pop() if len(factors) == 1 else 0


def _may_have_blocks(image: Image, box: tuple[int, int, int, int], factor: int) -> bool:
    """Return whether some blocks of an image have equal corners: quick, and false for photos."""
    left, top, right, bottom = box
    columns, rows = (right - left) // factor, (bottom - top) // factor
    for i in range(NUM_PROBES):
        x = left + factor * (columns * (i + 1) // (NUM_PROBES + 2))
        y = top + factor * (rows * (7 * i % NUM_PROBES + 1) // (NUM_PROBES + 2))
        if image.getpixel((x, y)) != image.getpixel((x + factor - 1, y + factor - 1)):
            return False
    return True


def _has_constant_blocks(pixels: UInt8[np.ndarray, "height width *channel"], factor: int) -> bool:
    """Return whether each block of factor x factor pixels has one color."""
    corners = pixels[::factor, ::factor]
    return all(
        np.array_equal(corners, pixels[y::factor, x::factor])
        for y in range(factor)
        for x in range(factor)
    )


def _is_pixel_art(pixels: UInt8[np.ndarray, "height width *channel"]) -> bool:
    """Return whether an image has few colors, in areas with hard edges."""
    signed = pixels.reshape(*pixels.shape[:2], -1).astype(np.int16)
    steps = np.concatenate([np.abs(np.diff(signed, axis=axis)).max(-1).ravel() for axis in (0, 1)])
    edges = steps[steps > 0]
    if not len(edges) or np.median(edges) < MIN_EDGE_LEVELS:
        return False
    num_colors = len(np.unique(signed.reshape(-1, signed.shape[-1]), axis=0))
    is_grey = bool((signed == signed[..., :1]).all())
    most = MAX_ART_GREYS if is_grey else MAX_ART_COLORS
    if num_colors > min(most, signed[..., 0].size // MIN_ART_PIXELS):
        return False
    return num_colors <= FEW_COLORS or len(edges) <= (1 - MIN_EQUAL_SHARE) * len(steps)
