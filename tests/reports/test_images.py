"""Images in the page are the images: decoded again they are equal."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image as Pillow

from pinxit.data.images import Images
from pinxit.reports.images import cells_of, error_map, png_uri, sheet, shrunk, wall, with_alpha


def decoded(uri: str) -> np.ndarray:
    head, _, body = uri.partition(",")
    assert head == "data:image/png;base64"
    array = np.asarray(Pillow.open(io.BytesIO(base64.b64decode(body))))
    return array[..., None] if array.ndim == 2 else array


def some(n: int, height: int, width: int, channels: int) -> np.ndarray:
    random = np.random.default_rng(0)
    return random.integers(0, 256, (n, height, width, channels)).astype(np.uint8)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_png_holds_every_value(channels):
    array = some(1, 5, 7, channels)[0]
    assert np.array_equal(decoded(png_uri(array)), array)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_wall_is_the_images_with_transparent_gaps(channels):
    pixels = some(5, 8, 6, channels)
    image = wall(pixels, 3, "five")
    array = decoded(image.uri)
    assert (image.width, image.height) == (3 * 6 + 2, 2 * 8 + 1)
    assert np.array_equal(array[:8, 7:13, :channels], pixels[1])
    assert np.array_equal(array[9:, 7:13, :channels], pixels[4])
    assert (array[8, :, channels] == 0).all()
    assert (array[9:, 14:, channels] == 0).all(), "no sixth image"


@pytest.mark.parametrize(("height", "width", "channels"), [(8, 8, 1), (28, 20, 1), (16, 16, 3)])
@pytest.mark.parametrize("n", [4, 16, 30])
def test_a_sheet_written_while_training_is_read_back(n, height, width, channels):
    pixels = some(n, height, width, channels)
    laid = Images(pixels).grid().pixels[0]
    cells = cells_of(laid, height, width)
    assert cells is not None
    assert np.array_equal(cells[:n], pixels)


def test_what_is_no_such_sheet_is_not_read_as_one():
    assert cells_of(some(1, 66, 66, 1)[0], 8, 8) is None
    assert cells_of(np.full((1, 1, 1), 255, np.uint8), 8, 8) is None


def test_an_error_map_is_nothing_where_equal_and_full_at_its_scale():
    original, made = np.full((2, 2, 3), 100, np.uint8), np.full((2, 2, 3), 100, np.uint8)
    made[0, 0], made[0, 1], made[1, 0] = 150, 75, 250
    strength = error_map(original, made, 50)[..., 3]
    assert strength.tolist() == [[255, 127], [255, 0]]


def test_large_images_are_made_smaller_and_small_ones_are_left():
    assert shrunk(some(2, 100, 50, 3), 40).shape == (2, 40, 20, 3)
    assert shrunk(some(2, 100, 50, 1), 40).shape == (2, 40, 20, 1)
    pixels = some(2, 10, 10, 1)
    assert shrunk(pixels, 40) is pixels


def test_a_sheet_of_one_has_no_gap():
    assert sheet(with_alpha(some(1, 4, 4, 1)), 8).shape == (4, 4, 2)
