"""Configurations from JSON, and the choices that families share."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from pinxit.data.batch import DatasetInfo
from pinxit.errors import UsageError
from pinxit.models.config import choose_num_heads, config_from_dict, num_patches_by_size


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


@pytest.mark.parametrize(
    ("width", "num_heads"), [(16, 1), (64, 2), (96, 3), (100, 2), (192, 6), (512, 8), (768, 12)]
)
def test_heads_are_the_most_of_dimension_32_or_64_in_wide_models(width, num_heads):
    assert choose_num_heads(width) == num_heads


def test_patch_sizes_divide_both_sides():
    assert num_patches_by_size(DatasetInfo(1, 8, 12, 3)) == {1: 96, 2: 24, 4: 6}
    assert num_patches_by_size(DatasetInfo(1, 7, 5, 1)) == {1: 35}
