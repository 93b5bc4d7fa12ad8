"""Copies and groups are never on both sides of a split, whatever the source says."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pinxit.data.division import connect
from pinxit.data.images import NO_SPLIT, SPLITS, Images
from pinxit.data.load import load_images
from pinxit.data.splits import assign_splits
from tests.data.test_decode import encode

TRAIN, VALIDATION, TEST = range(3)
SPLIT_WORDS = [[], [], ["train", "test"], ["train", "val", "test"], ["", "test"]]


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (8, 8), np.uint8)


def load(path: Path, **options) -> Images:
    return load_images(path, progress=False, cache=False, **options)


def load_arrays(path: Path, **options) -> Images:
    names = {name: options.pop(name) for name in ("images", "split", "group") if name in options}
    np.savez(path / "set.npz", **names)
    return load(path / "set.npz", **options)


def units_of(images: Images) -> np.ndarray:
    pixels = np.unique(images.pixels.reshape(len(images), -1), axis=0, return_inverse=True)[1]
    return connect(pixels.ravel(), images.groups)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.data())
def test_splits_of_random_sources_share_no_pixels_and_no_groups(n, data):
    numbers = st.lists(st.integers(0, data.draw(st.integers(1, 60))), min_size=n, max_size=n)
    contents, groups = data.draw(numbers), data.draw(numbers)
    columns = {"images": np.stack([noise(i) for i in contents])}
    if data.draw(st.booleans()):
        columns["group"] = np.array([f"g{i}" if i % 3 else "" for i in groups])
    words = data.draw(
        st.sampled_from([[], ["train", "test"], ["train", "val", "test"], ["", "test"]])
    )
    if words:
        given_splits = data.draw(st.lists(st.sampled_from(words), min_size=n, max_size=n))
        columns["split"] = np.array(given_splits)
    limit = data.draw(st.none() | st.integers(1, n))
    with tempfile.TemporaryDirectory() as folder:
        images = load_arrays(Path(folder), limit=limit, **columns)

    units = units_of(images)
    for unit in np.unique(units):
        assert len(set(images.splits[units == unit].tolist()) - {NO_SPLIT}) <= 1
    if words:
        by_name = dict(zip([f"{i:06d}" for i in range(n)], given_splits, strict=True))
        for name, split in zip(images.names, images.splits, strict=True):
            assert by_name[name] != "test" or SPLITS[split] == "test"
    else:
        assert NO_SPLIT not in images.splits
        num_units = len(np.unique(units))
        assert num_units < 3 or set(images.splits.tolist()) == {TRAIN, VALIDATION, TEST}
        if num_units == n == len(images) >= 10 and limit is None:
            assert (images.splits == TRAIN).mean() >= 0.75


@given(st.lists(st.integers(1, 20), min_size=3, max_size=8))
def test_each_split_has_a_unit_however_unequal_they_are(sizes):
    """Of one image fourteen times and two others both went to test, and none was left to train."""
    units = np.repeat(np.arange(len(sizes)), sizes)
    names = [f"{i:06d}" for i in range(len(units))]
    splits = assign_splits(names, [None] * len(units), units)
    assert set(splits.tolist()) == {TRAIN, VALIDATION, TEST}


def test_copies_in_a_folder_are_in_one_split(tmp_path):
    for i in range(10):
        for j in range(8):
            (tmp_path / f"img_{i}_{j}.png").write_bytes(encode(Image.fromarray(noise(i))))
    images = load(tmp_path)
    training = {image.tobytes() for image in images.split("train").pixels}
    for split in ("validation", "test"):
        assert len(images.split(split))
        assert not any(image.tobytes() in training for image in images.split(split))
    assert any(
        "70 images with the same pixels as another: copies are never in different splits" in note
        for note in images.notes
    )


def test_training_copies_of_the_test_images_of_a_source_are_left_out(tmp_path):
    pixels = np.stack([noise(i) for i in (*range(20), 0, 1, 40)])
    split = np.array(["train"] * 20 + ["test"] * 3)
    images = load_arrays(tmp_path, images=pixels, split=split)
    assert (images.splits[20:] == TEST).all()
    assert np.flatnonzero(images.splits == NO_SPLIT).tolist() == [0, 1]
    assert not {0, 1} & set(images.split_indices("train").tolist())
    assert len(images.split_indices("all")) == 23
    assert any(
        "2 images left out of training: the source has test or validation images with" in note
        for note in images.notes
    )


def test_training_images_in_the_group_of_a_test_image_are_left_out(tmp_path):
    columns = {
        "images": np.stack([noise(i) for i in range(23)]),
        "group": np.array(["a", "b"] + [""] * 18 + ["a", "c", "c"]),
        "split": np.array(["train"] * 20 + ["test"] * 3),
    }
    images = load_arrays(tmp_path, **columns)
    assert np.flatnonzero(images.splits == NO_SPLIT).tolist() == [0]
    assert any("1 image left out of training: the source has" in note for note in images.notes)
    ungrouped = load_arrays(tmp_path, **columns, group_by="none")
    assert NO_SPLIT not in ungrouped.splits


def test_splits_without_copies_are_those_of_the_names(tmp_path):
    pixels = np.stack([noise(i) for i in range(60)])
    images = load_arrays(tmp_path, images=pixels)
    assert images.notes == ()
    again = load_arrays(tmp_path, images=pixels, size=16, limit=25)
    splits = dict(zip(images.names, images.splits.tolist(), strict=True))
    assert dict(zip(again.names, again.splits.tolist(), strict=True)).items() <= splits.items()
    assert set(again.splits.tolist()) == {TRAIN, VALIDATION, TEST}


def test_near_copies_across_splits_are_counted(tmp_path):
    originals = [np.array(Image.fromarray(noise(i)).resize((32, 32))) for i in range(40)]
    shifted = [np.clip(image.astype(int) + 2, 0, 255).astype(np.uint8) for image in originals]
    columns = {
        "images": np.stack([*originals, *shifted[:5], noise(99).repeat(4, 0).repeat(4, 1)]),
        "split": np.array(["train"] * 40 + ["test"] * 6),
    }
    images = load_arrays(tmp_path, **columns)
    assert any(
        "nearly equal to a training image: 5 of 6 test images" in note for note in images.notes
    )
    plain = load_arrays(tmp_path, images=np.stack(originals))
    assert plain.notes == ()


def test_edits_that_start_from_one_image_are_divided(tmp_path):
    for i in range(40):
        (tmp_path / f"pair{i}").mkdir()
        for name, seed in (("before", 1_000), ("after", i)):
            content = encode(Image.fromarray(noise(seed)))
            (tmp_path / f"pair{i}" / f"{name}.png").write_bytes(content)
    images = load(tmp_path)
    assert len(images) == 40
    assert np.bincount(images.splits).tolist() == [32, 4, 4]


def test_two_images_are_training_images_and_two_groups_are_with_a_note(tmp_path):
    assert load_arrays(tmp_path, images=np.stack([noise(0), noise(1)])).splits.tolist() == [0, 0]
    columns = {
        "images": np.stack([noise(i) for i in range(6)]),
        "group": np.array(["a", "b"] * 3),
    }
    images = load_arrays(tmp_path, **columns)
    assert images.splits.tolist() == [0] * 6
    assert "all images are training images" in images.notes[-1]


def test_units_are_connected_through_any_column():
    chain = np.arange(10) // 2, (np.arange(10) + 1) // 2
    assert connect(*chain).tolist() == [0] * 10
    assert connect(chain[0], None).tolist() == [0, 0, 2, 2, 4, 4, 6, 6, 8, 8]


def test_splits_of_real_sets(real_data, monkeypatch):
    monkeypatch.setenv("PINXIT_DATA", str(real_data))
    emoji = load_images("emoji", progress=False)
    units = units_of(emoji)
    assert emoji.groups is not None
    for unit in np.unique(units):
        assert len(set(emoji.splits[units == unit].tolist()) - {NO_SPLIT}) == 1
    assert (emoji.splits == TEST).sum() == 383


@pytest.mark.parametrize("groups", [None, [0, 0, 1, 1]])
def test_images_without_a_split_are_in_none(groups):
    images = Images(
        np.zeros((4, 8, 8, 1), np.uint8),
        splits=np.array([TRAIN, NO_SPLIT, TEST, TEST], np.int8),
        groups=None if groups is None else np.array(groups),
    )
    assert images.split_indices("train").tolist() == [0]
    assert images.split_indices("test").tolist() == [2, 3]
    assert images.count_splits() == {"train": 1, "validation": 0, "test": 2}


def test_images_before_an_edit_are_not_counted_as_left_out():
    images = load_images("shapes-edits:60", progress=False, cache=False)
    assert not any("left out of training" in note for note in images.notes)
