"""Which pixels are missing: exact counts, and every mask that cannot be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinxit.data.images import Images
from pinxit.data.masks import (
    box_mask,
    composite,
    half_mask,
    mask_from_image,
    random_patch_mask,
    read_mask_size,
    show_masked,
)
from pinxit.errors import UsageError
from tests.builders import blobs


@given(
    rows=st.integers(2, 6),
    columns=st.integers(1, 6),
    block=st.integers(1, 4),
    ratio=st.floats(0.01, 0.99),
    seed=st.integers(0, 9),
)
def test_exactly_the_stated_number_of_patches_is_missing(rows, columns, block, ratio, seed):
    images = Images(np.zeros((3, rows * block, columns * block, 1), np.uint8))
    missing = random_patch_mask(images, ratio, block, seed)
    patches = missing.reshape(3, rows, block, columns, block).transpose(0, 1, 3, 2, 4)
    whole = patches.reshape(3, rows * columns, -1)
    assert (whole.all(-1) == whole.any(-1)).all(), "a patch is missing whole or not at all"
    left = min(max(1, round((1 - ratio) * rows * columns)), rows * columns - 1)
    assert ((~whole.all(-1)).sum(1) == left).all()


def test_an_image_s_mask_is_a_function_of_the_seed_and_its_number():
    many = random_patch_mask(blobs(), 0.75, 2, seed=1)
    assert np.array_equal(many[:3], random_patch_mask(blobs()[:3], 0.75, 2, seed=1))
    assert not np.array_equal(many[0], many[1])
    assert not np.array_equal(many, random_patch_mask(blobs(), 0.75, 2, seed=2))


@pytest.mark.parametrize("ratio", [0, 1, 1.2, -0.5, float("nan")])
def test_a_ratio_that_leaves_nothing_to_do_is_refused(ratio):
    with pytest.raises(UsageError, match="between 0 and 1"):
        random_patch_mask(blobs(), ratio, 2)


def test_halves_are_halves():
    for half, part in {"lower": np.s_[:, 4:], "left": np.s_[:, :, :4]}.items():
        missing = half_mask(blobs(), half)
        assert missing[part].all()
        assert missing.mean() == 0.5


def test_a_box_lies_where_it_is_said():
    missing = box_mask(blobs(3), (1, 2, 5, 4))
    assert missing[:, 2:6, 1:6].all()
    assert missing[0].sum() == 20
    for box in ((5, 0, 4, 1), (-1, 0, 3, 3), (0, 0, 0, 3), (0, 7, 1, 2)):
        with pytest.raises(UsageError, match="is not inside images of 8 x 8"):
            box_mask(blobs(3), box)


def test_white_is_missing_and_an_all_black_mask_is_refused(tmp_path):
    mask = Images(np.zeros((1, 8, 8, 1), np.uint8))
    with pytest.raises(UsageError, match="make the pixels to complete white"):
        mask_from_image(blobs(2), mask)
    mask.pixels[0, :3] = 255
    assert mask_from_image(blobs(2), mask).sum() == 2 * 24
    assert read_mask_size(mask.save(tmp_path / "mask.png")) == (8, 8)
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(UsageError, match="cannot be read"):
        read_mask_size(tmp_path / "text.png")


def test_what_is_known_is_pasted_and_what_is_missing_shows_grey():
    images, missing = blobs(2), half_mask(blobs(2), "upper")
    made = composite(images, np.full_like(images.pixels, 9), missing)
    assert (made[:, :4] == 9).all()
    assert np.array_equal(made[:, 4:], images.pixels[:, 4:])
    shown = show_masked(images, missing)
    assert (shown.pixels[:, :4] == 128).all()
    assert np.array_equal(shown.pixels[:, 4:], images.pixels[:, 4:])
