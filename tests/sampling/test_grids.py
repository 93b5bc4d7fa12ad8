"""What commands draw and write."""

from __future__ import annotations

import io

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pinxit.data.images import Images
from pinxit.sampling import exports as tables
from pinxit.sampling import grids as sheets
from tests.builders import blobs


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("count", [1, 7, 32])
def test_originals_stand_left_of_their_reconstructions(channels, count):
    originals = blobs(count, channels=channels)
    made = blobs(count, channels=channels, seed=1)
    sheet = sheets.pair_grid(originals, made, columns=1).pixels[0]
    scale = sheets.choose_scale(originals, 2)
    first = sheet[8 : 8 + 8 * scale : scale, 8 : 8 + 8 * scale : scale]
    assert np.array_equal(first, originals.pixels[0])
    right = 8 + 8 * scale + 1
    second = sheet[8 : 8 + 8 * scale : scale, right : right + 8 * scale : scale]
    assert np.array_equal(second, made.pixels[0])


def test_a_strip_stands_between_its_originals():
    made, ends = blobs(4), blobs(2, seed=1)
    with_ends, without = sheets.image_strip(made, ends), sheets.image_strip(made)
    assert with_ends.width > without.width
    assert with_ends.height == without.height


@pytest.mark.parametrize("channels", [1, 3])
def test_rows_have_their_text(channels):
    image = opened(sheets.rows_with_text(blobs(6, channels=channels), 3, ["z1\n2.00 nats", "z2"]))
    pixels = np.asarray(image.convert("L"))
    assert image.mode == "RGB"
    assert pixels[:, :60].min() < 120  # text at the left
    assert image.width > 3 * 64


def test_an_animation_goes_there_and_back_without_end():
    gif = opened(sheets.animated_gif(blobs(5)))
    assert (gif.format, gif.n_frames) == ("GIF", 8)
    assert gif.info["loop"] == 0
    assert gif.size == (256, 256)


def test_the_lowest_score_comes_first():
    images = blobs(5)
    scores = np.array([0.0, -5, 3, -1, 2])
    lowest = opened(sheets.score_sheet(images, scores, most=1))
    alone = opened(sheets.score_sheet(images[1:2], scores[1:2]))
    assert lowest.tobytes() == alone.tobytes()
    assert lowest.tobytes() != opened(sheets.score_sheet(images, scores, 1, "highest")).tobytes()


def test_embeddings_as_parquet():
    images = blobs(6)
    vectors = np.arange(18, dtype=np.float32).reshape(6, 3)
    table = pq.read_table(io.BytesIO(tables.embeddings_to_parquet(images, vectors)))
    assert table.column_names == ["name", "label", "split", "vector"]
    assert table["name"].to_pylist() == list(images.names)
    assert np.array_equal(np.array(table["vector"].to_pylist()), vectors)
    assert table["label"][0].as_py() in images.label_names
    bare = images.__class__(images.pixels)
    found = pq.read_table(io.BytesIO(tables.embeddings_to_parquet(bare, vectors)))
    assert found.column_names == ["name", "vector"]


def test_csv_quotes_what_needs_it():
    text = tables.rows_to_csv([{"name": 'a,"b".png', "log_likelihood": -1.5}])
    assert text == 'name,log_likelihood\n"a,""b"".png",-1.5\n'
    assert tables.rows_to_csv([]).strip() == ""


def test_images_on_white_are_parted_by_grey_and_others_by_white():
    light, dark = (Images(np.full((3, 4, 4, 1), level, np.uint8)) for level in (255, 0))
    assert light.grid(3, scale=1).pixels[0, 0, 0] == 200
    assert (light.grid(3, scale=1).pixels[0, 2:6, 2:6] == 255).all()
    assert dark.grid(3, scale=1).pixels[0, 0, 0] == 255
