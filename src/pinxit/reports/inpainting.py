"""The section with completed images: masked patches, or the lower half."""

from __future__ import annotations

from pinxit.data.images import Images
from pinxit.data.masks import half_mask, random_patch_mask, show_masked
from pinxit.evaluation.inpainting import masked_mse
from pinxit.models.protocols import CanComplete
from pinxit.reports.context import ReportContext
from pinxit.reports.formatting import format_number
from pinxit.reports.images import InlineImage
from pinxit.reports.sections import MAX_THUMBNAIL_SIDE, Section, inline_thumbnails, is_shrunk

MASK_RATIOS = (0.75, 0.85, 0.95)
NUM_IMAGES = 8
NUM_COMPLETIONS = 4  # of each image, from models that complete left to right

TitledFigure = tuple[str, InlineImage, str]  # title, images, mean squared error


def inpainting(context: ReportContext) -> Section | None:
    """Masked images, their completions and the originals."""
    model = context.model
    if context.subset is None or not isinstance(model, CanComplete):
        return None
    images = context.subset.evenly_spaced(NUM_IMAGES)
    baseline = context.metrics.get("masked_mse_mean_fill")
    figures = (
        _inpaint_lower_half(model, images)
        if model.left_to_right
        else _inpaint_patches(model, images)
    )
    values = {
        "left_to_right": model.left_to_right,
        "figures": figures,
        "num_completions": NUM_COMPLETIONS,
        "split": context.split,
        "baseline": None if baseline is None else format_number(baseline, 3),
        "shrunk": is_shrunk(images, MAX_THUMBNAIL_SIDE),
    }
    return Section("inpainting", "Inpainting", values)


def _inpaint_patches(model: CanComplete, images: Images) -> list[TitledFigure]:
    """Return one figure per mask ratio: masked images, completions, originals (He 2021, fig. 2)."""
    figures = []
    for ratio in MASK_RATIOS:
        percent = f"{100 * ratio:.0f} %"
        mask = random_patch_mask(images, ratio, model.patch_size)
        completed = model.complete(images, mask, seed=0)
        error = masked_mse(images, completed.pixels, mask).value
        alt = f"{len(images)} images with {percent} of patches masked, completions, originals"
        grid = inline_thumbnails([show_masked(images, mask), completed, images], alt)
        figures.append((f"{percent} masked", grid, format_number(error, 3)))
    return figures


def _inpaint_lower_half(model: CanComplete, images: Images) -> list[TitledFigure]:
    """Show each upper half, several completions and the original (Chen 2020, fig. 1)."""
    images = images[: NUM_IMAGES // 2 * 2]
    mask = half_mask(images, "lower")
    completions = [model.complete(images, mask, seed=seed) for seed in range(NUM_COMPLETIONS)]
    error = masked_mse(images, completions[0].pixels, mask).value
    alt = f"Upper half of {len(images)} images, {NUM_COMPLETIONS} completions, originals"
    grid = inline_thumbnails([show_masked(images, mask), *completions, images], alt)
    return [("Lower half masked", grid, format_number(error, 3))]
