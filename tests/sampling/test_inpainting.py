"""Completions of one image with several seeds, and the columns of figures."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinxit.data.images import Images
from pinxit.data.masks import half_mask
from pinxit.errors import UsageError
from pinxit.models.generation import GenerationParams
from pinxit.sampling.inpainting import (
    check_mask_ratios,
    comparison_columns,
    complete_n_times,
    mask_ratio_columns,
    parse_mask_ratios,
)
from tests.builders import blobs


class SeedCompleter:
    """A fake model: it sets masked pixels to the seed modulo 256."""

    patch_size = 2
    left_to_right = False

    def __init__(self):
        self.seeds = []

    def complete(self, images, mask, params=None, *, seed=None):
        seed = params.seed if seed is None else seed
        self.seeds.append(seed)
        pixels = np.where(mask[..., None], seed % 256, images.pixels).astype(np.uint8)
        return dataclasses.replace(images, pixels=pixels)


def test_completions_have_different_seeds_and_the_first_has_the_given_one():
    model, images = SeedCompleter(), blobs(3)
    mask = half_mask(images, "left")
    completions = complete_n_times(model, images, mask, GenerationParams(seed=7), 4)
    assert model.seeds[0] == 7
    assert len(set(model.seeds)) == len(completions) == 4
    assert (completions[0].pixels[mask] == 7).all()
    assert complete_n_times(model, images, mask, GenerationParams(seed=7))[0].pixels[0, 0, 0] == 7


def test_a_comparison_has_the_input_each_completion_and_the_original():
    images = blobs(2)
    mask = half_mask(images, "left")
    two, one = ([blobs(2, seed=k) for k in range(n)] for n in (2, 1))
    titles = [title for title, _ in comparison_columns(images, mask, two)]
    assert titles == ["input", "completion 1", "completion 2", "original"]
    columns: dict[str, Images] = dict(comparison_columns(images, mask, one))
    assert list(columns) == ["input", "completed", "original"]
    assert columns["original"] is images


def test_each_mask_ratio_has_an_input_and_a_completion():
    model, images = SeedCompleter(), blobs(2)
    columns = mask_ratio_columns(model, images, (0.5, 0.75), GenerationParams(seed=9))
    titles = ["original", "50% masked", "completed", "75% masked", "completed"]
    assert [title for title, _ in columns] == titles
    for (_, completed), masked in ((columns[2], 0.5), (columns[4], 0.75)):
        assert (completed.pixels == 9).mean() >= masked


def test_mask_ratios_are_percentages_or_fractions():
    assert parse_mask_ratios("75, 85,95") == (0.75, 0.85, 0.95)
    assert parse_mask_ratios("0.5") == (0.5,)
    with pytest.raises(UsageError, match="not '75,100'"):
        parse_mask_ratios("75,100")


@given(st.lists(st.integers(1, 99), min_size=1, max_size=4))
def test_percentages_and_fractions_give_equal_ratios(percentages):
    fractions = [percentage / 100 for percentage in percentages]
    expected = check_mask_ratios(fractions)
    for numbers, sign in ((percentages, ""), (percentages, "%"), (fractions, "")):
        assert parse_mask_ratios(",".join(f"{number}{sign}" for number in numbers)) == expected


@given(
    fractions=st.lists(st.floats(0.001, 0.999), min_size=1, max_size=3),
    other=st.one_of(st.floats(1, 99), st.integers(1, 99), st.sampled_from([0.0, -0.5, math.nan])),
    data=st.data(),
)
def test_ratios_of_two_kinds_are_refused(fractions, other, data):
    ratios = data.draw(st.permutations([*fractions, other]))
    with pytest.raises(UsageError, match="are fractions such as"):
        check_mask_ratios(ratios)
    with pytest.raises(UsageError, match="are percentages such as"):
        parse_mask_ratios(",".join(map(str, ratios)))
    with pytest.raises(UsageError, match="are percentages such as"):
        parse_mask_ratios(",".join(map(str, [*fractions, "95%"])))
