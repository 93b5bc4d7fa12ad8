"""Configurations from JSON, and the choices that families share."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinxit.data.batch import DatasetInfo
from pinxit.errors import UsageError
from pinxit.models import build_model, igpt, seq2seq
from pinxit.models.config import (
    choose_num_heads,
    config_from_dict,
    model_config,
    num_patches_by_size,
)
from tests.builders import blobs


@dataclass(frozen=True)
class Config:
    levels: tuple[int, ...] = (8, 5)
    width: int | None = None


def test_lists_become_tuples():
    assert config_from_dict(Config, {"levels": [4, 4], "width": 3}) == Config((4, 4), 3)
    assert config_from_dict(Config, {}) == Config()


def test_unknown_key_raises():
    with pytest.raises(UsageError, match=r"Config has no 'widht'\. Did you mean 'width'"):
        config_from_dict(Config, {"widht": 3})


@model_config
@dataclass(frozen=True)
class Choices:
    mode: Literal["fast", "slow"] = "fast"
    level: Literal[1, 2] | None = None
    label: Literal["x"] | int = 0


def test_values_of_a_literal_are_checked_wherever_they_are_given():
    assert Choices("slow", 2) == Choices(mode="slow", level=2)
    assert Choices(level=None, label=7).label == 7
    with pytest.raises(UsageError, match=r"mode is one of 'fast', 'slow', not 'slo'\. Did.*slow"):
        Choices("slo")
    with pytest.raises(UsageError, match=r"level is one of 1, 2, None, not 3\."):
        Choices(level=3)
    with pytest.raises(UsageError, match="mode is one of"):
        dataclasses.replace(Choices(), mode="no")
    with pytest.raises(UsageError, match="mode is one of"):
        config_from_dict(Choices, {"mode": "no"})
    assert repr(Choices()) == "Choices(mode='fast', level=None, label=0)"


@pytest.mark.parametrize(
    ("width", "num_heads"), [(16, 1), (64, 2), (96, 3), (100, 2), (192, 6), (512, 8), (768, 12)]
)
def test_heads_are_the_most_of_dimension_32_or_64_in_wide_models(width, num_heads):
    assert choose_num_heads(width) == num_heads


def test_patch_sizes_divide_both_sides():
    assert num_patches_by_size(DatasetInfo(1, 8, 12, 3)) == {1: 96, 2: 24, 4: 6}
    assert num_patches_by_size(DatasetInfo(1, 7, 5, 1)) == {1: 35}


@settings(max_examples=30)
@given(
    width=st.integers(1, 24) | st.sampled_from([66, 99, 96]),
    heads=st.none() | st.integers(1, 9),
    kind=st.sampled_from(["draw", "caption", "edit", "translate", "learned", "rotary"]),
)
def test_each_width_and_number_of_heads_that_is_accepted_trains(width, heads, kind):
    size, images = {"width": width, "heads": heads, "depth": 1}, blobs(8)
    try:
        if kind in seq2seq.config.DIRECTIONS:
            source, target = seq2seq.config.DIRECTIONS[kind]
            config = seq2seq.Config(source=source, target=target, decoder_depth=1, **size)
        else:
            config = igpt.Config(pos_embed=kind, palette_size=4, **size)
        config.resolve(images.info())
    except UsageError:
        assert heads is not None or width % 2, "an even width has a number of heads that fits"
        return
    model = build_model(config, images, np.arange(8))[0]
    assert model.loss(images.batch(np.arange(8))).total.isfinite()


@pytest.mark.parametrize(
    ("width", "heads"), [(96, 3), (128, 4), (192, 6), (512, 8), (66, 1), (99, 3)]
)
def test_heads_are_as_many_as_an_even_dimension_of_at_least_32_allows(width, heads):
    assert choose_num_heads(width) == heads
