"""Completed images, for `Run.complete`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np

from pinxit.api.checks import check_choice, check_count, check_integers
from pinxit.data.images import Images
from pinxit.data.masks import Half, random_patch_mask, show_masked
from pinxit.errors import UsageError
from pinxit.models.generation import GenerationParams
from pinxit.models.protocols import CanComplete
from pinxit.runs import Run
from pinxit.sampling.inpainting import (
    check_mask_ratios,
    choose_mask,
    complete_n_times,
    parse_mask_ratios,
    read_mask,
)


def complete_images(
    run: Run,
    model: CanComplete,
    images: Images,
    missing: Mapping[str, Any],
    completions: int,
    params: GenerationParams,
) -> Images:
    """Return the completed images, with their inputs in `before`.

    All completions of an image, or all mask ratios, follow one another: `columns` of them.
    Raises UsageError if more than one thing says what is missing.
    """
    check_choice("half", missing["half"], Half, optional=True)
    check_integers("box (left, top, width, height)", missing["box"], 4)
    check_count("completions", completions)
    if missing["ratio"] is not None and not isinstance(missing["ratio"], Real):
        raise UsageError(f"ratio is a number between 0 and 1, not {missing['ratio']!r}.")
    given = [name for name, value in missing.items() if value is not None]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} cannot be combined: give one of them.")
    if missing["compare"] is not None and completions > 1:
        raise UsageError("compare is one completion at each of several mask ratios.")
    if not isinstance(params.seed, int):
        raise UsageError("complete takes one seed for all images.")
    if missing["compare"] is not None:
        return _compare_ratios(model, images, _parse_ratios(missing["compare"]), params)
    if missing["mask"] is not None:
        mask = read_mask(run, images, missing["mask"])
    else:
        options = {name: missing[name] for name in ("half", "ratio", "box")}
        mask, _ = choose_mask(model, images, seed=params.seed, **options)
    completed = complete_n_times(model, images, mask, params, completions)
    inputs = show_masked(images, mask)
    return _interleave([inputs] * completions, completed)


def _interleave(inputs: Sequence[Images], results: Sequence[Images]) -> Images:
    """Return the results image by image, each with its input; a column for each of `results`."""
    before = np.stack([images.pixels for images in inputs], 1)
    after = np.stack([images.pixels for images in results], 1)
    shape = (-1, *after.shape[2:])
    columns = len(results) if len(results) > 1 else None
    return Images(after.reshape(shape), before=before.reshape(shape), columns=columns)


def _compare_ratios(
    model: CanComplete, images: Images, ratios: Sequence[float], params: GenerationParams
) -> Images:
    """Complete every image at each mask ratio."""
    assert isinstance(params.seed, int)
    inputs, results = [], []
    for ratio in ratios:
        mask = random_patch_mask(images, ratio, model.patch_size, params.seed)
        inputs.append(show_masked(images, mask))
        results.append(model.complete(images, mask, params))
    return _interleave(inputs, results)


def _parse_ratios(ratios: str | Sequence[float]) -> tuple[float, ...]:
    """Return fractions; a text may have percentages too, see `parse_mask_ratios`."""
    return parse_mask_ratios(ratios) if isinstance(ratios, str) else check_mask_ratios(ratios)
