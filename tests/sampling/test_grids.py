"""Grids of images with text, and animations."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from pinxit.data.images import Images
from pinxit.sampling.grids import (
    choose_scale,
    columns_with_titles,
    encode_gif,
    image_strip,
    pair_grid,
    progress_gif,
    rows_with_text,
    score_sheet,
)
from tests.builders import blobs


def decode(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("count", [1, 7, 32])
def test_each_original_is_left_of_its_reconstruction(channels, count):
    originals = blobs(count, channels=channels)
    reconstructions = blobs(count, channels=channels, seed=1)
    sheet = pair_grid(originals, reconstructions, columns=1).pixels[0]
    scale = choose_scale(originals, 2)
    first = sheet[8 : 8 + 8 * scale : scale, 8 : 8 + 8 * scale : scale]
    assert np.array_equal(first, originals.pixels[0])
    right = 8 + 8 * scale + 1
    second = sheet[8 : 8 + 8 * scale : scale, right : right + 8 * scale : scale]
    assert np.array_equal(second, reconstructions.pixels[0])


def test_a_strip_is_wider_between_its_originals():
    images, endpoints = blobs(4), blobs(2, seed=1)
    with_endpoints, without = image_strip(images, endpoints), image_strip(images)
    assert with_endpoints.width > without.width
    assert with_endpoints.height == without.height


@pytest.mark.parametrize("channels", [1, 3])
def test_rows_have_their_text_at_the_left(channels):
    image = decode(rows_with_text(blobs(6, channels=channels), 3, ["z1\n2.00 nats", "z2"]))
    pixels = np.asarray(image.convert("L"))
    assert image.mode == "RGB"
    assert pixels[:, :60].min() < 120
    assert image.width > 3 * 64


def test_columns_have_room_for_their_titles():
    png = columns_with_titles([("original", blobs(2)), ("a much longer title", blobs(2, seed=1))])
    with decode(png) as image:
        assert image.height > 2 * 80
        assert image.width > 2 * 100


def test_an_animation_loops_back_and_forth():
    gif = decode(encode_gif(blobs(5)))
    assert (gif.format, gif.n_frames) == ("GIF", 8)
    assert gif.info["loop"] == 0
    assert gif.size == (256, 256)


def test_a_progress_animation_ends_with_the_finished_images():
    stages = [Images(np.full((2, 8, 8, 1), level, np.uint8)) for level in (0, 100, 200)]
    gif = decode(progress_gif(stages))
    assert gif.n_frames >= 3
    gif.seek(gif.n_frames - 1)
    assert np.asarray(gif.convert("L")).min() == 200


def test_the_lowest_score_comes_first():
    images = blobs(5)
    scores = np.array([0.0, -5, 3, -1, 2])
    lowest = decode(score_sheet(images, scores, max_images=1))
    alone = decode(score_sheet(images[1:2], scores[1:2]))
    assert lowest.tobytes() == alone.tobytes()
    assert lowest.tobytes() != decode(score_sheet(images, scores, 1, "highest")).tobytes()


def test_images_on_white_are_separated_by_grey_and_others_by_white():
    light, dark = (Images(np.full((3, 4, 4, 1), level, np.uint8)) for level in (255, 0))
    assert light.grid(3, scale=1).pixels[0, 0, 0] == 200
    assert (light.grid(3, scale=1).pixels[0, 2:6, 2:6] == 255).all()
    assert dark.grid(3, scale=1).pixels[0, 0, 0] == 255
