"""Sizes: parsed from options, and chosen from images."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinxit.data.load_options import make_load_options
from pinxit.data.sizes import choose_size, describe_sizes, format_size, parse_size
from pinxit.errors import UsageError


@pytest.mark.parametrize(
    ("sizes", "chosen"),
    [
        ([(256, 200)], (256, 200)),
        ([(300, 300)], (64, 64)),
        ([(40, 900), (41, 900)], (32, 32)),
        ([(3, 3), (4, 4)], (8, 8)),
    ],
)
def test_the_default_size_is_chosen_from_the_images(sizes, chosen):
    assert choose_size(sizes)[0] == chosen


@given(st.integers(4, 4096), st.integers(4, 4096))
def test_parse_size_reads_width_x_height(height, width):
    assert parse_size(f"{width}x{height}") == (height, width) == parse_size((height, width))


@pytest.mark.parametrize("size", [64, "64", " 64 x 64 ", "64X64", "64×64", (64, 64)])
def test_every_notation_of_a_size_is_parsed(size):
    assert parse_size(size) == (64, 64)
    assert parse_size(None) is None


@pytest.mark.parametrize("kind", [np.int64, np.uint16, int])
def test_integers_of_numpy_are_sizes_and_options_that_json_holds(kind):
    assert parse_size(kind(64)) == parse_size((kind(64), kind(64))) == (64, 64)
    for size in (kind(16), (kind(16), kind(32)), [kind(16), kind(32)]):
        options = make_load_options(size=size)
        assert json.loads(json.dumps(options.to_json()))["size"] in (16, [16, 32])


@pytest.mark.parametrize("size", [64.0, math.nan, (64,), (64, 64, 3), (64, 64.0), b"64", object()])
def test_anything_else_is_no_size(size):
    for read in (parse_size, lambda size: make_load_options(size=size)):
        with pytest.raises(UsageError, match="size"):
            read(size)


def test_sizes_are_formatted_as_width_x_height():
    assert format_size((48, 64)) == "64 x 48"
    assert describe_sizes([(48, 64)] * 3) == "images of 64 x 48"
    assert describe_sizes([(48, 64), (8, 9)]) == "images from 9 x 8 to 64 x 48"
