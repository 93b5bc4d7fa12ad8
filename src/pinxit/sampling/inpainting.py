"""Images with a part missing, and what a model paints there, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pinxit.data.images import Images
from pinxit.data.masks import patch_size_of, random_patch_mask, show_masked
from pinxit.errors import UsageError
from pinxit.nn.rng import mix_seed

if TYPE_CHECKING:
    from pinxit.data.masks import Missing

Columns = list[tuple[str, Images]]


def complete_n_times(
    model: Any,
    images: Images,
    missing: Missing,
    *,
    each: int = 1,
    seed: int = 0,
    temperature: float = 1.0,
) -> list[Images]:
    """`each` completions of every image: the first of `seed`, others of seeds made from it."""
    seeds = [seed, *(mix_seed(seed, k) for k in range(1, each))]
    return [model.complete(images, missing, seed=one, temperature=temperature) for one in seeds]


def comparison_columns(images: Images, missing: Missing, made: Sequence[Images]) -> Columns:
    """What is given, each completion, and the truth."""
    titles = ["completed"] if len(made) == 1 else [f"no. {k}" for k in range(1, len(made) + 1)]
    return [
        ("given", show_masked(images, missing)),
        *zip(titles, made, strict=True),
        ("truth", images),
    ]


def mask_ratio_columns(
    model: Any, images: Images, ratios: Sequence[float], seed: int = 0
) -> Columns:
    """The truth, then what is given and what is made of it at each ratio (He 2021, fig. 2)."""
    columns: Columns = [("truth", images)]
    for ratio in ratios:
        missing = random_patch_mask(images, ratio, patch_size_of(model), seed)
        made = model.complete(images, missing, seed=seed)
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
