"""`Images`: selecting, splits, grids, and saving."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from pinxit.data.images import Images, evenly_spaced_indices
from pinxit.errors import UsageError
from tests.builders import blobs


def test_evenly_spaced_indices_include_both_ends():
    assert evenly_spaced_indices(5, 64).tolist() == [0, 1, 2, 3, 4]
    assert evenly_spaced_indices(100, 3).tolist() == [0, 50, 99]


def test_selected_images_keep_their_metadata():
    images = blobs(12)
    for selected in (images[[7, 2]], images.take(np.array([7, 2]))):
        assert list(selected.names) == ["blob-007", "blob-002"]
        assert (selected.pixels == images.pixels[[7, 2]]).all()
        assert (selected.before == images.before[[7, 2]]).all()
        assert selected.labels.tolist() == images.labels[[7, 2]].tolist()
        assert selected.splits.tolist() == images.splits[[7, 2]].tolist()
        assert selected.captions["fr"] == [images.captions["fr"][i] for i in (7, 2)]
    assert list(images[-1].names) == ["blob-011"]
    assert list(images[::5].names) == ["blob-000", "blob-005", "blob-010"]
    assert len(images[images.labels == 1]) == (images.labels == 1).sum()


def test_splits_are_selected_by_name():
    images = blobs(40)
    assert [len(images.split(name)) for name in ("train", "validation", "test")] == [20, 10, 10]
    assert images.split_indices("all").tolist() == list(range(40))
    with pytest.raises(UsageError, match="no split 'dev'; there are: train, validation, test"):
        images.split_indices("dev")


def test_a_batch_has_the_rows_that_were_requested():
    images = blobs(12)
    batch = images.batch(np.array([7, 2]))
    assert len(batch) == 2
    assert (batch.pixels.numpy() == images.pixels[[7, 2]]).all()
    assert batch.labels.tolist() == images.labels[[7, 2]].tolist()
    assert batch.captions["en"] == [images.captions["en"][i] for i in (7, 2)]


def test_info_describes_the_selected_rows():
    pixels = np.zeros((4, 2, 3, 1), np.uint8)
    pixels[0], pixels[1] = 255, 30
    info = Images(pixels).info()
    assert (info.num_images, info.height, info.width, info.channels, info.dims) == (4, 2, 3, 1, 6)
    assert info.binary_fraction == 0.75
    assert info.near_binary_fraction == 1
    assert info.mean == pytest.approx((255 + 30) / 4 / 255)
    assert Images(pixels).info(np.array([0])).std == 0
    with pytest.raises(UsageError, match="no images to train on"):
        Images(pixels).info(np.array([], int))


def test_a_label_is_given_by_name_or_by_index():
    info = blobs(12).info()
    assert info.label_index("south-west") == info.label_index("2") == 2
    with pytest.raises(UsageError, match="no label 'west'; there are: north-west, north-east"):
        info.label_index("west")
    with pytest.raises(UsageError, match="have no labels"):
        dataclasses.replace(info, label_names=()).label_index("2")
    assert type(info).from_json(info.to_json()) == info


def test_images_print_as_a_short_line():
    images = blobs(12, height=4, channels=3)
    assert repr(images) == "Images(12 images, 8 x 4, RGB, 4 labels, captions in en fr)"
    assert repr(images.grid()).startswith("Images(1 image, ")
    assert repr(Images(images.pixels[..., :1])) == "Images(12 images, 8 x 4, grey)"


def test_a_grid_shows_every_image_with_a_gap():
    images = blobs(5)
    grid = images.grid(columns=3, scale=2, gap=4)
    assert grid.pixels.shape == (1, 2 * (16 + 4) + 4, 3 * (16 + 4) + 4, 1)
    assert (grid.pixels[0, 4:20, 4:20] == images.pixels[0].repeat(2, 0).repeat(2, 1)).all()
    assert (grid.pixels[0, 24:40, 24:40] == images.pixels[4].repeat(2, 0).repeat(2, 1)).all()
    assert (grid.pixels[0, 24:, 44:] == 255).all()
    with pytest.raises(UsageError, match="no images"):
        images[:0].grid()


def test_images_are_saved_as_png_or_npy(tmp_path):
    images = blobs(2, channels=3)
    with Image.open(images[:1].save(tmp_path / "one.png")) as image:
        assert (np.asarray(image) == images.pixels[0]).all()
    with Image.open(io.BytesIO(images.to_png())) as image:
        assert image.size == images.grid().to_pil().size
    assert (np.load(images.save(tmp_path / "all.npy")) == images.pixels).all()
    with pytest.raises(UsageError, match=r"saved as .png or .npy, not '.jpg'"):
        images.save(tmp_path / "all.jpg")


def test_concatenated_images_keep_their_order():
    images = blobs(6)
    joined = Images.concatenate([images[4:], images[:4]])
    assert (joined.pixels == images.pixels[[4, 5, 0, 1, 2, 3]]).all()


def test_pixels_of_another_type_or_shape_are_errors():
    with pytest.raises(UsageError, match=r"uint8 array .* not float64 \[2, 4, 4, 1\]"):
        Images(np.zeros((2, 4, 4, 1)))
    with pytest.raises(UsageError, match=r"not uint8 \[2, 4, 4\]"):
        Images(np.zeros((2, 4, 4), np.uint8))
    pixels = np.zeros((2, 4, 4, 1), np.uint8)
    with pytest.raises(UsageError, match=r"`before` has shape \[1, 4, 4, 1\]"):
        Images(pixels, before=pixels[:1])
