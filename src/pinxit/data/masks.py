"""Masks of pixels to complete: random patches, a half, a box, or an image file.

A mask is bool `[n, height, width]`, True where a pixel is missing.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image, UnidentifiedImageError

from pinxit.data.home_folder import expand_home
from pinxit.data.images import Images
from pinxit.errors import UsageError

if TYPE_CHECKING:  # jaxtyping takes 0.15 s, and the command line reads `Half` from here
    from jaxtyping import Bool

    PixelMask = Bool[np.ndarray, "n height width"]

Half = Literal["lower", "upper", "left", "right"]

MASK_GREY = 128  # what missing pixels are shown as


def random_patch_mask(images: Images, ratio: float, patch_size: int, seed: int = 0) -> PixelMask:
    """Mask a fraction of each image's patches; image i's mask is a function of (seed, i).

    Exactly round((1 - ratio) * patches) patches stay visible, at least one and not all; of an
    image of one patch nothing does. Patches at the right and the bottom may be cut by the edge.
    Raises UsageError if the ratio is not between 0 and 1.
    """
    if not 0 < ratio < 1:
        raise UsageError(f"the mask ratio must be between 0 and 1, not {ratio:g}.")
    rows, columns = -(-images.height // patch_size), -(-images.width // patch_size)
    num_patches = rows * columns
    num_visible = min(max(1, round((1 - ratio) * num_patches)), num_patches - 1)
    mask = np.ones((len(images), num_patches), bool)
    for i in range(len(images)):
        visible = np.random.default_rng([seed, i]).permutation(num_patches)[:num_visible]
        mask[i, visible] = False
    mask = mask.reshape(-1, rows, columns).repeat(patch_size, 1).repeat(patch_size, 2)
    return mask[:, : images.height, : images.width]


def half_mask(images: Images, half: Half) -> PixelMask:
    """Mask one half of each image."""
    mask = _empty_mask(images)
    middle_y, middle_x = images.height // 2, images.width // 2
    regions = {
        "lower": np.s_[:, middle_y:],
        "upper": np.s_[:, :middle_y],
        "left": np.s_[:, :, :middle_x],
        "right": np.s_[:, :, middle_x:],
    }
    mask[regions[half]] = True
    return mask


def box_mask(images: Images, box: tuple[int, int, int, int]) -> PixelMask:
    """Mask a rectangle (left, top, width, height), in pixels of the images.

    Raises UsageError if it is not inside the images.
    """
    left, top, width, height = box
    is_inside = left >= 0 and top >= 0 and width > 0 and height > 0
    if not is_inside or left + width > images.width or top + height > images.height:
        raise UsageError(
            f"the box {left} {top} {width} {height} (left, top, width, height) is not inside "
            f"images of {images.width} x {images.height}."
        )
    mask = _empty_mask(images)
    mask[:, top : top + height, left : left + width] = True
    return mask


def mask_from_image(images: Images, mask_image: Images) -> PixelMask:
    """Mask the pixels of every image that are white in `mask_image`, one image of their size.

    Raises UsageError if it is all black.
    """
    mask = mask_image.pixels[0].mean(-1) > 127
    if not mask.any():
        raise UsageError("the mask is all black; make the pixels to complete white.")
    return np.broadcast_to(mask, (len(images), *mask.shape)).copy()


def read_mask_size(file: Path) -> tuple[int, int]:
    """Return the width and height of a mask file. Raises UsageError if it is not an image."""
    file = expand_home(file)
    if not file.is_file():
        raise UsageError(f"there is no mask file {file}.")
    try:
        with Image.open(file) as image:
            return image.size
    except (OSError, UnidentifiedImageError) as error:
        raise UsageError(f"the mask {file} cannot be read: {error}.") from None


def show_masked(images: Images, mask: PixelMask) -> Images:
    """Return the images with missing pixels in grey."""
    pixels = np.where(mask[..., None], np.uint8(MASK_GREY), images.pixels)
    return dataclasses.replace(images, pixels=pixels)


def composite(images: Images, completed: np.ndarray, mask: PixelMask) -> np.ndarray:
    """Return the pixels of `completed` where the mask is True, those of the images elsewhere."""
    return np.where(mask[..., None], completed, images.pixels)


def _empty_mask(images: Images) -> PixelMask:
    return np.zeros((len(images), images.height, images.width), bool)
