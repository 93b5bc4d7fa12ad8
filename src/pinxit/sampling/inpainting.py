"""Images with a part missing, and what a model paints there, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pinxit.data.images import Images
from pinxit.data.masks import random_patch_mask, show_masked
from pinxit.errors import UsageError
from pinxit.nn.rng import mix_seed

if TYPE_CHECKING:
    from pinxit.data.masks import PixelMask
    from pinxit.models.generation import GenerationParams
    from pinxit.models.protocols import CanComplete

Columns = list[tuple[str, Images]]


def complete_n_times(
    model: CanComplete, images: Images, missing: PixelMask, params: GenerationParams, n: int = 1
) -> list[Images]:
    """Return n completions of every image: the first of the seed, others of seeds mixed from it."""
    assert isinstance(params.seed, int)
    seeds = [params.seed, *(mix_seed(params.seed, k) for k in range(1, n))]
    return [model.complete(images, missing, params, seed=seed) for seed in seeds]


def comparison_columns(images: Images, missing: PixelMask, made: Sequence[Images]) -> Columns:
    """What is given, each completion, and the truth."""
    titles = ["completed"] if len(made) == 1 else [f"no. {k}" for k in range(1, len(made) + 1)]
    return [
        ("given", show_masked(images, missing)),
        *zip(titles, made, strict=True),
        ("truth", images),
    ]


def mask_ratio_columns(
    model: CanComplete, images: Images, ratios: Sequence[float], params: GenerationParams
) -> Columns:
    """The truth, then what is given and what is made of it at each ratio (He 2021, fig. 2)."""
    assert isinstance(params.seed, int)
    columns: Columns = [("truth", images)]
    for ratio in ratios:
        missing = random_patch_mask(images, ratio, model.patch_size, params.seed)
        made = model.complete(images, missing, params)
        columns += [(f"{ratio:.0%} masked", show_masked(images, missing)), ("made", made)]
    return columns


def parse_mask_ratios(text: str) -> tuple[float, ...]:
    """`75,85,95` or `0.75,0.85`: shares between 0 and 1. Raises UsageError for anything else."""
    try:
        numbers = [float(word) for word in text.replace("%", "").split(",")]
    except ValueError:
        numbers = []
    shares = tuple(number / 100 if number >= 1 else number for number in numbers)
    if not shares or not all(0 < share < 1 for share in shares):
        raise UsageError(f"mask ratios are numbers as 75,85,95 (per cent), not '{text}'.")
    return shares
