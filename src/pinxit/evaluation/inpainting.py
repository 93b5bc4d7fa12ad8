"""How near completed images are to the truth, on the missing pixels alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from pinxit.data.images import Images
from pinxit.data.masks import composite, half_mask, random_patch_mask
from pinxit.evaluation.metrics import MetricValue

if TYPE_CHECKING:
    from pinxit.data.masks import PixelMask

RATIOS = (0.5, 0.75, 0.85, 0.95)
MAX_AUTOREGRESSIVE_IMAGES = 64  # images, of a model that paints one block after another


def missing_pixel_mse(originals: Images, made: np.ndarray, missing: PixelMask) -> float:
    """Mean squared error of the missing pixels' values, black being 0 and white 1."""
    wrong = originals.pixels.astype(np.float32) - made.astype(np.float32)
    return float(np.square(wrong[missing]).mean() / 255**2)


def inpainting_metrics(model: Any, images: Images, seed: int = 0) -> Iterator[MetricValue]:
    """The error by ratio; of a model that paints left to right, of the lower half alone.

    `masked_mse_mean_fill` is the yardstick: the same as the first, with each image's missing pixels
    at the mean of those that are left.
    """
    if model.left_to_right:
        few = images[:MAX_AUTOREGRESSIVE_IMAGES]
        missing = half_mask(few, "lower")
        made = model.complete(few, missing, seed=seed)
        yield "masked_mse_half", missing_pixel_mse(few, made.pixels, missing)
        yield "masked_mse_mean_fill", missing_pixel_mse(few, fill_with_mean(few, missing), missing)
        return
    for ratio in RATIOS:
        missing = random_patch_mask(images, ratio, model.patch_size, seed)
        made = model.complete(images, missing, seed=seed)
        yield f"masked_mse_{100 * ratio:.0f}", missing_pixel_mse(images, made.pixels, missing)
        if ratio == 0.75:
            yield (
                "masked_mse_mean_fill",
                missing_pixel_mse(images, fill_with_mean(images, missing), missing),
            )


def fill_with_mean(images: Images, missing: PixelMask) -> np.ndarray:
    """Missing pixels at the mean of the image's other pixels: what knowing nothing else gives."""
    known = ~missing[..., None]
    count = np.maximum(known.sum((1, 2)), 1)
    mean = (images.pixels * known).sum((1, 2)) / count
    flat = np.broadcast_to(mean[:, None, None], images.pixels.shape)
    return composite(images, flat.round().astype(np.uint8), missing)
