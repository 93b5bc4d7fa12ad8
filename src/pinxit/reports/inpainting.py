"""Completed images, and how far completing is from painting anew."""

from __future__ import annotations

from typing import Any

import numpy as np

from pinxit.data.images import Images
from pinxit.data.masks import half_mask, patch_size_of, random_patch_mask, show_masked
from pinxit.evaluation.inpainting import missing_pixel_mse
from pinxit.models.protocols import CanUnmask
from pinxit.reports.context import Material
from pinxit.reports.formatting import number
from pinxit.reports.images import Image, wall
from pinxit.reports.sections import THUMB, Section, shown_small, small_pixels

RATIOS = (0.75, 0.85, 0.95)
MANY = 8  # images in a row
SEEDS = 6
STEPS = 8  # of iterative unmasking


def completed(material: Material) -> Section | None:
    """What is given, what the model makes of it, and the truth."""
    seen = material.seen
    if seen is None or not material.can("complete"):
        return None
    few = seen.evenly_spaced(MANY)
    left_to_right = material.model.left_to_right
    figures = _halves(material.model, few) if left_to_right else _by_ratio(material.model, few)
    values = {
        "left_to_right": left_to_right,
        "figures": figures,
        "split": material.split,
        "guess": _number(material.figures.get("masked_mse_mean_fill")),
        "small": shown_small(few, THUMB),
    }
    return Section("completed", "The missing part", values)


def _by_ratio(model: Any, few: Images) -> list[tuple[str, Image, str]]:
    """A figure a ratio: rows of what is given, what is made, the truth (He 2021, fig. 2)."""
    figures = []
    for ratio in RATIOS:
        missing = random_patch_mask(few, ratio, patch_size_of(model))
        made = model.complete(few, missing, seed=0)
        error = missing_pixel_mse(few, made.pixels, missing)
        rows = [show_masked(few, missing), made, few]
        words = f"{len(few)} images with {ratio:.0%} of their patches missing, completed, whole"
        figures.append((f"{ratio:.0%} missing", _rows(rows, words), number(error, 3)))
    return figures


def _halves(model: Any, few: Images) -> list[tuple[str, Image, str]]:
    """The upper half given, several completions below each other (Chen 2020, fig. 1)."""
    few = few[: MANY // 2 * 2]
    missing = half_mask(few, "lower")
    made = [model.complete(few, missing, seed=seed) for seed in range(4)]
    error = missing_pixel_mse(few, made[0].pixels, missing)
    rows = [show_masked(few, missing), *made, few]
    words = f"{len(few)} images of which the upper half is given, four completions, and the truth"
    return [("upper half given", _rows(rows, words), number(error, 3))]


def generative(material: Material) -> Section | None:
    """Is a model that only completes a generative one? Images and numbers."""
    seen, model = material.seen, material.model
    if seen is None or not isinstance(model, CanUnmask):
        return None
    few = seen.evenly_spaced(MANY)
    missing = random_patch_mask(few, 0.75, patch_size_of(model))
    answers = [model.complete(few[:1], missing[:1], seed=seed) for seed in range(SEEDS)]
    spread = np.stack([one.pixels for one in answers]).astype(float).std(0).mean()
    one = Images.concatenate([show_masked(few[:1], missing[:1]), *answers])
    everything = np.ones((1, seen.height, seen.width), bool)
    nothing = model.complete(seen[:1], everything, seed=0)
    average = seen.pixels.astype(float).mean(0)
    images = model.unmask(24, seed=0, steps=STEPS)
    values = {
        "answers": _rows([one], f"A masked image and {SEEDS} answers of different seeds"),
        "seeds": SEEDS,
        "spread": number(float(spread), 2),
        "nothing": wall(small_pixels(nothing, THUMB), 1, "What it makes of no image at all"),
        "mean": wall(
            small_pixels(Images(average.round().astype(np.uint8)[None]), THUMB),
            1,
            "The average of the images",
        ),
        "apart": number(float(np.abs(nothing.pixels[0] - average).mean()), 2),
        "deviation": number(float(np.abs(seen.pixels - average).mean()), 2),
        "unmasked": wall(
            small_pixels(images, THUMB), 12, "Images by iterative unmasking from nothing"
        ),
        "steps": STEPS,
        "errors": [
            (f"{key.removeprefix('masked_mse_')} %", number(value, 3))
            for key, value in material.figures.items()
            if key.startswith("masked_mse_") and key[11:].isdigit()
        ],
    }
    return Section("generative", "Is this a generative image model?", values)


def _rows(rows: list[Images], words: str) -> Image:
    """Rows of images of one length."""
    return wall(small_pixels(Images.concatenate(rows), THUMB), len(rows[0]), words)


def _number(value: float | None) -> str | None:
    return None if value is None else number(value, 3)
