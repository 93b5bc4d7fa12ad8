"""Mean squared error of completed images, over the masked pixels only."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8

from pinxit.data.images import Images
from pinxit.data.masks import composite, half_mask, random_patch_mask
from pinxit.evaluation.estimates import Estimate, estimate_from_sums
from pinxit.evaluation.metrics import MetricValue
from pinxit.models.protocols import CanComplete

if TYPE_CHECKING:
    from pinxit.data.masks import PixelMask

MASK_RATIOS = (0.5, 0.75, 0.85, 0.95)
BASELINE_RATIO = 0.75  # of the mean-fill baseline
MAX_AUTOREGRESSIVE_IMAGES = 64  # a model that completes token by token is slow

Pixels = UInt8[np.ndarray, "n height width channel"]


def inpainting_metrics(
    model: CanComplete, images: Images, seed: int = 0, **generation: Any
) -> Iterator[MetricValue]:
    """Yield the error at each mask ratio; of a left-to-right model that of the lower half.

    `generation` are options of generation that the model takes, without the seed.
    `masked_mse_mean_fill` is a baseline: the masked pixels of each image are set to the mean of
    its visible pixels (at 75 %, or for the lower half).
    """
    if model.left_to_right:
        images = images.evenly_spaced(MAX_AUTOREGRESSIVE_IMAGES)
        mask = half_mask(images, "lower")
        yield "masked_mse_half", _completion_mse(model, images, mask, seed, generation)
        yield "masked_mse_mean_fill", masked_mse(images, fill_with_mean(images, mask), mask)
        return
    for ratio in MASK_RATIOS:
        mask = random_patch_mask(images, ratio, model.patch_size, seed)
        error = _completion_mse(model, images, mask, seed, generation)
        yield f"masked_mse_{100 * ratio:.0f}", error
        if ratio == BASELINE_RATIO:
            yield "masked_mse_mean_fill", masked_mse(images, fill_with_mean(images, mask), mask)


def _completion_mse(
    model: CanComplete, images: Images, mask: PixelMask, seed: int, generation: Mapping[str, Any]
) -> Estimate:
    completed = model.complete(images, mask, seed=seed, **generation)
    return masked_mse(images, completed.pixels, mask)


def masked_mse(originals: Images, pixels: Pixels, mask: PixelMask) -> Estimate:
    """Return the mean squared error over the masked pixels, on a scale from 0 to 1."""
    error = originals.pixels.astype(np.float32) - pixels.astype(np.float32)
    squares = (np.square(error / 255) * mask[..., None]).sum((1, 2, 3), dtype=np.float64)
    sums = np.stack([squares, mask.sum((1, 2)) * originals.channels], 1)
    estimate = estimate_from_sums(lambda s: s[:, 0] / s[:, 1], sums, originals.groups)
    return dataclasses.replace(estimate, names=originals.names)


def fill_with_mean(images: Images, mask: PixelMask) -> Pixels:
    """Set the masked pixels of each image to the mean of its other pixels."""
    visible = ~mask[..., None]
    count = np.maximum(visible.sum((1, 2)), 1)
    mean = (images.pixels * visible).sum((1, 2)) / count
    fill = np.broadcast_to(mean[:, None, None], images.pixels.shape)
    return composite(images, fill.round().astype(np.uint8), mask)
