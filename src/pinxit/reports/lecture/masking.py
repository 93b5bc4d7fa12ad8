"""The slide on the masked autoencoder: its steps, at three mask ratios."""

from __future__ import annotations

import numpy as np

from pinxit.data.images import Images
from pinxit.data.masks import random_patch_mask, show_masked
from pinxit.evaluation.inpainting import masked_mse
from pinxit.models.protocols import CanUnmask, Model
from pinxit.reports.context import ReportContext
from pinxit.reports.formatting import format_number
from pinxit.reports.images import InlineImage
from pinxit.reports.inpainting import MASK_RATIOS
from pinxit.reports.lecture.slide import Slide, locate
from pinxit.reports.sections import inline_row, inline_shrunk

TITLE = "Masked autoencoder, step by step"
NUM_MEASURED = 48  # images for the error at each mask ratio
MAX_VISIBLE_SHOWN = 12  # patches


def masking(context: ReportContext) -> Slide | None:
    """Show an image, what the encoder sees of it, and the completion, at each mask ratio."""
    model, images = context.model, context.subset
    if images is None or not isinstance(model, CanUnmask):
        return None
    assert isinstance(model, Model)
    patch = model.patch_size
    num_patches = (images.height // patch) * (images.width // patch)
    image, rows = images[len(images) // 2], []
    measured = images.evenly_spaced(NUM_MEASURED)
    for ratio in MASK_RATIOS:
        mask = random_patch_mask(image, ratio, patch)
        masks = random_patch_mask(measured, ratio, patch)
        error = masked_mse(measured, model.complete(measured, masks, seed=0).pixels, masks).value
        completed = model.complete(image, mask, seed=0)
        visible = _visible_patches(image, mask, patch)
        rows.append(
            {
                "percent": f"{100 * ratio:.0f} %",
                "masked": inline_shrunk(show_masked(image, mask).pixels[0], "The masked image"),
                "visible": _show_patches(visible),
                "num_visible": len(visible),
                "completed": inline_shrunk(completed.pixels[0], "The completion"),
                "error": format_number(error, 3),
            }
        )
    values = {
        "image": inline_shrunk(image.pixels[0], "The image x"),
        "rows": rows,
        "num_patches": num_patches,
        "patch_size": patch,
        "num_measured": len(measured),
        "max_shown": MAX_VISIBLE_SHOWN,
        "trained": f"{100 * float(context.model_options.get('mask_ratio', MASK_RATIOS[0])):.0f} %",
    }
    return Slide("masking", TITLE, values, (locate(type(model).loss), locate(type(model).complete)))


def _visible_patches(image: Images, mask: np.ndarray, patch: int) -> np.ndarray:
    """Return the patches that are not masked, `[n, patch, patch, channel]`, in raster order."""
    cells = [
        (slice(top, top + patch), slice(left, left + patch))
        for top in range(0, image.height, patch)
        for left in range(0, image.width, patch)
    ]
    return np.stack([image.pixels[0][cell] for cell in cells if not mask[0][cell].any()])


def _show_patches(patches: np.ndarray) -> InlineImage:
    scale = max(1, 16 // patches.shape[1])
    shown = patches[:MAX_VISIBLE_SHOWN].repeat(scale, 1).repeat(scale, 2)
    return inline_row(Images(np.ascontiguousarray(shown)), f"{len(shown)} visible patches")
