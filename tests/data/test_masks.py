"""Masks: exact numbers of hidden pixels, and invalid masks."""

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
    height=st.integers(1, 24),
    width=st.integers(1, 24),
    patch_size=st.integers(1, 9),
    ratio=st.floats(0.01, 0.99),
    seed=st.integers(0, 9),
)
def test_a_random_patch_mask_hides_the_stated_number_of_patches_of_images_of_any_size(
    height, width, patch_size, ratio, seed
):
    mask = random_patch_mask(
        Images(np.zeros((3, height, width, 1), np.uint8)), ratio, patch_size, seed
    )
    assert mask.shape == (3, height, width)
    patches = [
        mask[:, y : y + patch_size, x : x + patch_size].reshape(3, -1)
        for y in range(0, height, patch_size)
        for x in range(0, width, patch_size)
    ]
    is_hidden = np.stack([patch.all(1) for patch in patches], 1)
    is_touched = np.stack([patch.any(1) for patch in patches], 1)
    assert np.array_equal(is_hidden, is_touched), "patches are hidden as a whole"
    num_visible = min(max(1, round((1 - ratio) * len(patches))), len(patches) - 1)
    assert ((~is_hidden).sum(1) == num_visible).all()


def test_a_mask_is_a_function_of_the_seed_and_the_image_index():
    masks = random_patch_mask(blobs(), 0.75, 2, seed=1)
    assert np.array_equal(masks[:3], random_patch_mask(blobs()[:3], 0.75, 2, seed=1))
    assert not np.array_equal(masks[0], masks[1])
    assert not np.array_equal(masks, random_patch_mask(blobs(), 0.75, 2, seed=2))


@pytest.mark.parametrize("ratio", [0, 1, 1.2, -0.5, float("nan")])
def test_a_mask_ratio_outside_0_to_1_is_an_error(ratio):
    with pytest.raises(UsageError, match="between 0 and 1"):
        random_patch_mask(blobs(), ratio, 2)


def test_a_half_mask_hides_half_of_the_pixels():
    for half, region in {"lower": np.s_[:, 4:], "left": np.s_[:, :, :4]}.items():
        mask = half_mask(blobs(), half)
        assert mask[region].all()
        assert mask.mean() == 0.5


def test_a_box_mask_hides_the_box_and_must_be_inside():
    mask = box_mask(blobs(3), (1, 2, 5, 4))
    assert mask[:, 2:6, 1:6].all()
    assert mask[0].sum() == 20
    for box in ((5, 0, 4, 1), (-1, 0, 3, 3), (0, 0, 0, 3), (0, 7, 1, 2)):
        with pytest.raises(UsageError, match="is not inside images of 8 x 8"):
            box_mask(blobs(3), box)


def test_a_mask_image_hides_its_white_pixels_and_must_have_some(tmp_path):
    mask_image = Images(np.zeros((1, 8, 8, 1), np.uint8))
    with pytest.raises(UsageError, match="make the pixels to complete white"):
        mask_from_image(blobs(2), mask_image)
    mask_image.pixels[0, :3] = 255
    assert mask_from_image(blobs(2), mask_image).sum() == 2 * 24
    assert read_mask_size(mask_image.save(tmp_path / "mask.png")) == (8, 8)
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(UsageError, match="cannot be read"):
        read_mask_size(tmp_path / "text.png")


def test_composite_keeps_visible_pixels_and_masked_ones_are_shown_grey():
    images, mask = blobs(2), half_mask(blobs(2), "upper")
    completed = composite(images, np.full_like(images.pixels, 9), mask)
    assert (completed[:, :4] == 9).all()
    assert np.array_equal(completed[:, 4:], images.pixels[:, 4:])
    masked = show_masked(images, mask)
    assert (masked.pixels[:, :4] == 128).all()
    assert np.array_equal(masked.pixels[:, 4:], images.pixels[:, 4:])
