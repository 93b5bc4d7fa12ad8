"""Images in the page decode to the same pixels."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from pinxit.data.images import Images
from pinxit.reports.attention_maps import overlay_attention
from pinxit.reports.images import (
    add_alpha,
    encode_png_uri,
    inline_grid,
    make_error_map,
    make_grid,
    shrink,
    split_grid,
    to_rgba,
)


def decode_uri(uri: str) -> np.ndarray:
    head, _, body = uri.partition(",")
    assert head == "data:image/png;base64"
    array = np.asarray(Pillow.open(io.BytesIO(base64.b64decode(body))))
    return array[..., None] if array.ndim == 2 else array


def random_pixels(n: int, height: int, width: int, channels: int) -> np.ndarray:
    random = np.random.default_rng(0)
    return random.integers(0, 256, (n, height, width, channels)).astype(np.uint8)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_keeps_every_value(channels):
    array = random_pixels(1, 5, 7, channels)[0]
    assert np.array_equal(decode_uri(encode_png_uri(array)), array)


@pytest.mark.parametrize("channels", [1, 3])
def test_grid_has_transparent_gaps(channels):
    pixels = random_pixels(5, 8, 6, channels)
    image = inline_grid(pixels, 3, "five")
    array = decode_uri(image.uri)
    assert (image.width, image.height) == (3 * 6 + 2, 2 * 8 + 1)
    assert np.array_equal(array[:8, 7:13, :channels], pixels[1])
    assert np.array_equal(array[9:, 7:13, :channels], pixels[4])
    assert (array[8, :, channels] == 0).all()
    assert (array[9:, 14:, channels] == 0).all(), "no sixth image"


@pytest.mark.parametrize(("height", "width", "channels"), [(8, 8, 1), (28, 20, 1), (16, 16, 3)])
@pytest.mark.parametrize("n", [4, 16, 30])
def test_grid_saved_during_training_is_split_into_its_images(n, height, width, channels):
    pixels = random_pixels(n, height, width, channels)
    grid = Images(pixels).grid().pixels[0]
    cells = split_grid(grid, height, width)
    assert cells is not None
    assert np.array_equal(cells[:n], pixels)


def test_other_images_are_not_split():
    assert split_grid(random_pixels(1, 66, 66, 1)[0], 8, 8) is None
    assert split_grid(np.full((1, 1, 1), 255, np.uint8), 8, 8) is None


def test_error_map_is_transparent_where_equal_and_opaque_at_full_scale():
    original, changed = np.full((2, 2, 3), 100, np.uint8), np.full((2, 2, 3), 100, np.uint8)
    changed[0, 0], changed[0, 1], changed[1, 0] = 150, 75, 250
    opacity = make_error_map(original, changed, 50)[..., 3]
    assert opacity.tolist() == [[255, 127], [255, 0]]


def test_large_images_are_shrunk_and_small_ones_kept():
    assert shrink(random_pixels(2, 100, 50, 3), 40).shape == (2, 40, 20, 3)
    assert shrink(random_pixels(2, 100, 50, 1), 40).shape == (2, 40, 20, 1)
    pixels = random_pixels(2, 10, 10, 1)
    assert shrink(pixels, 40) is pixels


def test_grid_of_one_image_has_no_gap():
    assert make_grid(add_alpha(random_pixels(1, 4, 4, 1)), 8).shape == (4, 4, 2)


def test_grey_images_become_opaque_rgba():
    pixels = random_pixels(1, 2, 2, 1)
    rgba = to_rgba(pixels)
    assert rgba.shape == (1, 2, 2, 4)
    assert np.array_equal(rgba[..., :3], pixels.repeat(3, -1))
    assert (rgba[..., 3] == 255).all()


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 9), st.sampled_from([1, 3]))
def test_attention_of_any_grid_is_drawn_over_all_of_an_image(height, width, patch, channels):
    grid = (-(-height // patch), -(-width // patch))
    image = Images(np.zeros((1, height, width, channels), np.uint8))
    drawn = overlay_attention(image, np.ones(grid), "attention")
    pixels = decode_uri(drawn.uri)
    assert (pixels[..., 0] > 0).all(), "the opacity is the same everywhere"
