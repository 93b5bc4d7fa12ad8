"""`Images`: selecting, splits, grids, and saving."""

from __future__ import annotations

import dataclasses
import io
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pinxit.data.display import LARGE_CELL, SHEET_PIXELS
from pinxit.data.images import Images, evenly_spaced_indices
from pinxit.errors import UsageError
from tests.builders import blobs, noise_images


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


ROWS = st.lists(st.integers(0, 11), max_size=12)


@settings(max_examples=40)
@given(first=ROWS, second=ROWS)
def test_fingerprints_of_selections_are_equal_if_their_content_is(first, second):
    images = dataclasses.replace(blobs(12), fingerprint="12ab")
    a, b = images[np.array(first, int)], images[np.array(second, int)]
    assert (a.fingerprint == b.fingerprint) == (first == second)
    assert (a.fingerprint == images.fingerprint) == (first == list(range(12)))


def test_a_selection_of_images_without_a_fingerprint_has_none():
    assert dataclasses.replace(blobs(12), fingerprint="")[:5].fingerprint == ""
    images = dataclasses.replace(blobs(40), fingerprint="12ab")
    assert images[:].fingerprint == images[[*range(-40, 0)]].fingerprint == "12ab"
    assert images.split("test").fingerprint not in {"12ab", images.split("train").fingerprint}


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


def test_images_are_saved_as_image_files_or_npy(tmp_path):
    images = blobs(2, channels=3)
    with Image.open(images[:1].save(tmp_path / "one.png")) as image:
        assert (np.asarray(image) == images.pixels[0]).all()
    with Image.open(io.BytesIO(images.to_png())) as image:
        assert image.size == images.grid().pil().size
    assert (np.load(images.save(tmp_path / "all.npy")) == images.pixels).all()
    for suffix, kind in ((".jpg", "JPEG"), (".JPEG", "JPEG"), (".webp", "WEBP")):
        with Image.open(images.save(tmp_path / f"all{suffix}")) as image:
            assert (image.format, image.size) == (kind, images.grid().pil().size)
    with pytest.raises(UsageError, match=r"saved as .png, .jpg, .jpeg, .webp or .npy, not '.pdf'"):
        images.save(tmp_path / "all.pdf")


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


def show(images: Images) -> np.ndarray:
    """What a notebook shows of images, as an array."""
    png = images._repr_png_()
    assert png is not None
    return np.asarray(Image.open(io.BytesIO(png)))


def test_a_notebook_shows_every_pixel_of_a_small_image():
    image = noise_images(1, 8, 8)
    shown = show(image)
    assert shown.shape[0] >= 200, "an 8 x 8 image is enlarged so that it can be seen"
    step = shown.shape[0] // 8
    assert (shown[step // 2 :: step, step // 2 :: step, 0] == image.pixels[0, ..., 0]).all()


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 300),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    has_before=st.booleans(),
    columns=st.none() | st.integers(1, 400),
)
def test_what_a_notebook_shows_is_bounded(n, height, width, has_before, columns):
    pixels = np.zeros((n, height, width, 1), np.uint8)
    before = pixels if has_before else None
    shown = show(Images(pixels, before=before, columns=columns))
    assert shown.shape[1] <= 2 * SHEET_PIXELS
    assert shown.size <= 64 * 3 * (2 * LARGE_CELL) ** 2


def test_a_notebook_shows_images_evenly_spaced_and_says_how_many_there_are():
    pixels = np.repeat(np.arange(200, dtype=np.uint8), 64).reshape(200, 8, 8, 1)
    many = show(Images(pixels))
    few = show(Images(pixels[:64]))
    assert many.shape[0] > few.shape[0], "a line below names the number"
    values = set(many[..., 0].ravel().tolist())
    assert {0, 199} <= values
    assert show(Images(np.zeros((1, 2000, 2000, 3), np.uint8))).shape[1] <= SHEET_PIXELS
    assert Images(pixels)[:0]._repr_png_() is None


def test_an_edit_is_shown_beside_its_image():
    after, before = np.full((2, 8, 8, 1), 200, np.uint8), np.full((2, 8, 8, 1), 50, np.uint8)
    shown = show(Images(after, before=before))
    assert {50, 200} <= set(shown[shown.shape[0] // 2, :, 0].tolist())


@settings(max_examples=50, deadline=None)
@given(
    n=st.integers(1, 5),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    channels=st.sampled_from([1, 3]),
    read_only=st.booleans(),
)
def test_other_libraries_take_images(n, height, width, channels, read_only):
    images = noise_images(n, height, width, channels)
    images.pixels.flags.writeable = not read_only
    expected = images.pixels if n > 1 else images.pixels[0]
    if n == 1 and channels == 1:
        expected = expected[..., 0]
    assert np.array_equal(np.asarray(images), expected)
    assert np.asarray(images, dtype=np.float32).dtype == np.float32
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for convert in (torch.as_tensor, torch.tensor):
            tensor = convert(images)
            assert tensor.dtype == torch.uint8
            assert np.array_equal(tensor.numpy(), expected)
    assert np.array_equal(images.numpy(), images.pixels)
    assert np.array_equal(Image.fromarray(images[0]), np.asarray(images[0]))
    assert np.array_equal(images[-1].pil(), np.asarray(images[-1]))
    floats = images.tensor()
    assert floats.dtype == torch.float32
    assert np.array_equal((255 * floats).round().permute(0, 2, 3, 1).numpy(), images.pixels)


def test_converted_images_are_copies_where_a_library_may_write():
    images = noise_images(2)
    tensor = torch.as_tensor(images)
    tensor.fill_(0)
    images.tensor().fill_(0)
    np.array(images).fill(0)
    assert images.pixels.any()


def test_columns_are_those_of_the_grid_until_images_are_selected():
    images = dataclasses.replace(noise_images(6, 8, 8), columns=3)
    assert images.grid().pixels.shape == images.grid(columns=3).pixels.shape
    assert images.grid(columns=2).pixels.shape != images.grid(columns=3).pixels.shape
    assert images[:4].columns is None
