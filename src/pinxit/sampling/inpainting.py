"""Completed images beside their inputs, as titled columns of a figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pinxit.data.images import Images
from pinxit.data.masks import Half, box_mask, half_mask, random_patch_mask, show_masked
from pinxit.errors import UsageError
from pinxit.models.generation import GenerationParams
from pinxit.models.protocols import CanComplete
from pinxit.nn.rng import mix_seed

if TYPE_CHECKING:
    from pinxit.data.masks import PixelMask

Columns = list[tuple[str, Images]]


def complete_n_times(
    model: CanComplete, images: Images, mask: PixelMask, params: GenerationParams, n: int = 1
) -> list[Images]:
    """Return `n` completions of every image: the first with the seed, others with mixed seeds.

    Raises UsageError for several of a model that completes an image in one way only.
    """
    assert isinstance(params.seed, int)
    if n > 1 and params.temperature == 0:
        raise UsageError("completions at temperature 0 are equal: it must be above 0 for several.")
    if n > 1 and getattr(model, "completion_is_deterministic", False):
        raise UsageError("this model completes an image in one way only: several would be equal.")
    seeds = [params.seed, *(mix_seed(params.seed, k) for k in range(1, n))]
    return [model.complete(images, mask, params, seed=seed) for seed in seeds]


def choose_mask(
    model: CanComplete,
    images: Images,
    half: Half | None = None,
    ratio: float | None = None,
    box: tuple[int, int, int, int] | None = None,
    seed: int = 0,
) -> tuple[PixelMask, str]:
    """Return the missing pixels of each image, and their description as part of a file name.

    By default a model that generates from left to right gets the upper half, any other one patch
    in four. Raises UsageError for a ratio or a box that does not fit.
    """
    if box is not None:
        return box_mask(images, box), "box-" + "-".join(map(str, box))
    if half is None and ratio is None:
        # a model that generates from the top left has no context if the top is missing
        half, ratio = ("lower", None) if model.left_to_right else (None, 0.75)
    if half is not None:
        return half_mask(images, half), half
    assert ratio is not None
    return random_patch_mask(images, ratio, model.patch_size, seed), str(ratio)


def comparison_columns(images: Images, mask: PixelMask, completions: Sequence[Images]) -> Columns:
    """Return the columns input, each completion, original."""
    titles = ["completed"]
    if len(completions) > 1:
        titles = [f"completion {k}" for k in range(1, len(completions) + 1)]
    return [
        ("input", show_masked(images, mask)),
        *zip(titles, completions, strict=True),
        ("original", images),
    ]


def mask_ratio_columns(
    model: CanComplete, images: Images, ratios: Sequence[float], params: GenerationParams
) -> Columns:
    """Return the original, then input and completion at each mask ratio (He 2021, fig. 2)."""
    assert isinstance(params.seed, int)
    columns: Columns = [("original", images)]
    for ratio in ratios:
        mask = random_patch_mask(images, ratio, model.patch_size, params.seed)
        completed = model.complete(images, mask, params)
        columns += [(f"{ratio:.0%} masked", show_masked(images, mask)), ("completed", completed)]
    return columns


def parse_mask_ratios(text: str) -> tuple[float, ...]:
    """Parse `75,85,95` (percent) or `0.75,0.85` into fractions; a list has one kind of numbers.

    Raises UsageError for a mixture, and for anything that is not between 0 and 1.
    """
    parts = [part.strip() for part in text.split(",")]
    try:
        numbers = [float(part.removesuffix("%")) for part in parts]
    except ValueError:
        raise UsageError(_invalid_ratios(text)) from None
    if all(part.endswith("%") for part in parts) or all(number >= 1 for number in numbers):
        numbers = [number / 100 for number in numbers]
    elif "%" in text:
        raise UsageError(_invalid_ratios(text))
    return check_mask_ratios(numbers, text)


def check_mask_ratios(ratios: Sequence[float], text: str | None = None) -> tuple[float, ...]:
    """Return fractions as they are. Raises UsageError for one that is not between 0 and 1."""
    if len(ratios) == 0 or not all(0 < ratio < 1 for ratio in ratios):
        if text is not None:
            raise UsageError(_invalid_ratios(text))
        given = ", ".join(map(str, ratios))
        raise UsageError(f"mask ratios are fractions such as (0.75, 0.85), not ({given}).")
    return tuple(float(ratio) for ratio in ratios)


def _invalid_ratios(text: str) -> str:
    return f"mask ratios are percentages such as 75,85,95, not '{text}'."
