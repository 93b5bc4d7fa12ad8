"""Which pixels of images are missing: by a share of patches, a half, a box or a mask's file.

A mask is bool `[n, height, width]`, True where a pixel is missing.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pinxit.data.images import Images
from pinxit.errors import UsageError

if TYPE_CHECKING:
    from jaxtyping import Bool

    Missing = Bool[np.ndarray, "n height width"]

Half = Literal["lower", "upper", "left", "right"]
UNSEEN = 128  # the grey that missing pixels are shown in


def patch_size_of(model: Any) -> int:
    """Pixels a side of what a model completes as one: a patch, a token's block."""
    return model.patch_size


def random_patch_mask(images: Images, ratio: float, block: int, seed: int = 0) -> Missing:
    """A share of each image's patches, drawn by a generator of (seed, its number).

    Of the patches exactly round((1 - ratio) * patches) are left, one at least.
    Raises UsageError where the ratio is not between 0 and 1.
    """
    if not 0 < ratio < 1:
        raise UsageError(f"the share that is missing lies between 0 and 1, not {ratio:g}.")
    rows, columns = images.height // block, images.width // block
    left = min(max(1, round((1 - ratio) * rows * columns)), rows * columns - 1)
    missing = np.ones((len(images), rows * columns), bool)
    for i in range(len(images)):
        chosen = np.random.default_rng([seed, i]).permutation(rows * columns)[:left]
        missing[i, chosen] = False
    return missing.reshape(-1, rows, columns).repeat(block, 1).repeat(block, 2)


def half_mask(images: Images, half: Half) -> Missing:
    """One half of each image."""
    missing = _nothing(images)
    h, w = images.height // 2, images.width // 2
    where = {
        "lower": np.s_[:, h:],
        "upper": np.s_[:, :h],
        "left": np.s_[:, :, :w],
        "right": np.s_[:, :, w:],
    }
    missing[where[half]] = True
    return missing


def box_mask(images: Images, box: tuple[int, int, int, int]) -> Missing:
    """A rectangle: left, top, width and height in pixels of the model's size.

    Raises UsageError where it does not lie in the image.
    """
    left, top, width, height = box
    inside = left >= 0 and top >= 0 and width > 0 and height > 0
    if not inside or left + width > images.width or top + height > images.height:
        raise UsageError(
            f"the box {left} {top} {width} {height} (left, top, width, height) does not lie in "
            f"images of {images.width} x {images.height}."
        )
    missing = _nothing(images)
    missing[:, top : top + height, left : left + width] = True
    return missing


def mask_from_image(images: Images, mask: Images) -> Missing:
    """A mask's image, white where pixels are missing, for every image.

    Raises UsageError where the mask is all black.
    """
    missing = mask.pixels[0].mean(-1) > 127
    if not missing.any():
        raise UsageError("the mask is all black: nothing is missing. White is what to paint.")
    return np.broadcast_to(missing, (len(images), *missing.shape)).copy()


def read_mask_size(file: Path) -> tuple[int, int]:
    """Width and height of a mask's file. Raises UsageError where it is no image."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file) as image:
            return image.size
    except (OSError, UnidentifiedImageError) as error:
        raise UsageError(f"the mask {file} cannot be read: {error}.") from None


def show_masked(images: Images, missing: Missing) -> Images:
    """The images with grey in place of what is missing."""
    pixels = np.where(missing[..., None], np.uint8(UNSEEN), images.pixels)
    return dataclasses.replace(images, pixels=pixels)


def composite(images: Images, made: np.ndarray, missing: Missing) -> np.ndarray:
    """What was made where pixels are missing, the images' own elsewhere."""
    return np.where(missing[..., None], made, images.pixels)


def _nothing(images: Images) -> Missing:
    return np.zeros((len(images), images.height, images.width), bool)
