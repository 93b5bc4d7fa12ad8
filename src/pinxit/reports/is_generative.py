"""The section "Is this a generative image model?", for models trained by masked regression.

Such a model returns the mean of the missing pixels, not a sample of them. The section shows it by
completions from several seeds, by an image completed from nothing, and by iterative unmasking.
"""

from __future__ import annotations

import numpy as np

from pinxit.data.images import Images
from pinxit.data.masks import random_patch_mask, show_masked
from pinxit.models.protocols import CanUnmask
from pinxit.reports.context import ReportContext
from pinxit.reports.formatting import format_number
from pinxit.reports.images import inline_grid
from pinxit.reports.sections import (
    MAX_THUMBNAIL_SIDE,
    Section,
    inline_thumbnails,
    shrink_images,
)

MASK_RATIO = 0.75
NUM_SEEDS = 6
NUM_UNMASKED, NUM_UNMASKING_STEPS = 24, 8


def is_generative(context: ReportContext) -> Section | None:
    """Completions from several seeds, from nothing, and by iterative unmasking."""
    images, model = context.subset, context.model
    if images is None or not isinstance(model, CanUnmask):
        return None
    values = {
        **_complete_by_seed(model, images[:1]),
        **_complete_from_nothing(model, images),
        **_unmask_iteratively(model),
        "error_by_ratio": _collect_error_by_ratio(context.metrics),
        "trained_ratio": _format_ratio(context.model_options.get("mask_ratio", MASK_RATIO)),
    }
    return Section("is_generative", "Is this a generative image model?", values)


def _complete_by_seed(model: CanUnmask, image: Images) -> dict[str, object]:
    """Return one masked image, its completions, and their standard deviation over seeds."""
    mask = random_patch_mask(image, MASK_RATIO, model.patch_size)
    completions = [model.complete(image, mask, seed=seed) for seed in range(NUM_SEEDS)]
    spread = np.stack([images.pixels for images in completions]).astype(float).std(0).mean()
    row = Images.concatenate([show_masked(image, mask), *completions])
    alt = f"A masked image and its completions from {NUM_SEEDS} seeds"
    return {
        "completions": inline_thumbnails([row], alt),
        "num_seeds": NUM_SEEDS,
        "mask_ratio": _format_ratio(MASK_RATIO),
        "spread": format_number(float(spread), 2),
    }


def _complete_from_nothing(model: CanUnmask, images: Images) -> dict[str, object]:
    """Return the completion of a fully masked image, and its distance to the mean image."""
    mask = np.ones((1, images.height, images.width), bool)
    completed = model.complete(images[:1], mask, seed=0)
    mean = images.pixels.astype(float).mean(0)
    mean_image = Images(mean.round().astype(np.uint8)[None])
    return {
        "from_nothing": inline_thumbnails([completed], "Completion of a fully masked image"),
        "mean_image": inline_thumbnails([mean_image], "Mean of the images"),
        "distance_to_mean": format_number(float(np.abs(completed.pixels[0] - mean).mean()), 2),
        "mean_deviation": format_number(float(np.abs(images.pixels - mean).mean()), 2),
    }


def _unmask_iteratively(model: CanUnmask) -> dict[str, object]:
    images = model.unmask(NUM_UNMASKED, seed=0, steps=NUM_UNMASKING_STEPS)
    pixels = shrink_images(images, MAX_THUMBNAIL_SIDE)
    return {
        "unmasked": inline_grid(pixels, NUM_UNMASKED // 2, "Images from iterative unmasking"),
        "num_steps": NUM_UNMASKING_STEPS,
    }


def _collect_error_by_ratio(metrics: dict[str, float]) -> list[tuple[str, str]]:
    """Return the mask ratio and error of each `masked_mse_<percent>` of the evaluation."""
    prefix = "masked_mse_"
    return [
        (f"{name.removeprefix(prefix)} %", format_number(value, 3))
        for name, value in metrics.items()
        if name.startswith(prefix) and name.removeprefix(prefix).isdigit()
    ]


def _format_ratio(ratio: float) -> str:
    return f"{100 * ratio:.0f} %"
