"""Splits and labels are found at the level of folders where they are."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pinxit.data.imagefolder.levels import find_levels
from pinxit.data.imagefolder.split_words import read_split_name
from pinxit.data.images import SPLITS
from pinxit.data.splits import parse_split
from tests.data.imagefolder.test_accounting import load, save

FOLDERS = [
    *("train", "Test", "val", "dev", "testing", "cats", "dogs", "images", "chest", "2020"),
    *("training_set", "test_set", "train_station", "test2017", "extras"),
]
trees = st.lists(
    st.lists(st.sampled_from(FOLDERS), max_size=4).map(lambda parts: "/".join([*parts, ""])),
    min_size=1,
    max_size=10,
    unique=True,
).map(lambda folders: [f"{folder}{i}.png" for i, folder in enumerate(folders)])


def words_for_held_out(image: str) -> set[str]:
    return {part for part in image.split("/")[:-1] if parse_split(part) not in (None, "train")}


@settings(max_examples=300, deadline=None)
@given(trees)
@example(
    [
        *("train/Test/0.png", "train/val/1.png", "train/dev/2.png", "Test/train/3.png"),
        *("train/train/Test/4.png", "training_set/testing/5.png"),
    ]
)
@example(
    [
        *("0.png", "Test/1.png", "cats/2.png", "dogs/3.png", "images/4.png", "cats/train/5.png"),
        "train_station/6.png",
    ]
)
def test_a_folder_named_like_a_split_gives_splits_or_is_named_in_a_note(images):
    levels = find_levels(images)
    notes = " ".join(levels.notes)
    for image in images:
        *folders, _ = image.split("/")
        for part in folders:
            if read_split_name(part).split and image not in levels.splits:
                assert f"{part}/" in notes
        # what is set aside is not trained on in silence
        if words_for_held_out(image) and levels.splits.get(image, "train") == "train":
            assert any(f"{part}/" in notes for part in words_for_held_out(image))


@settings(max_examples=15, deadline=None)
@given(trees)
def test_no_image_of_a_test_folder_is_trained_on_in_silence(paths):
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder), *paths)
        images = load(Path(folder))
    notes = " ".join(images.notes)
    for name, split in zip(images.names, images.splits, strict=True):
        if words := words_for_held_out(name):
            assert SPLITS[split] != "train" or any(f"{word}/" in notes for word in words)


def labels_and_splits(*images: str) -> list[tuple[str | None, str | None]]:
    levels = find_levels(images)
    return [(levels.labels.get(image), levels.splits.get(image)) for image in images]


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (
            ("chest/train/N/0.png", "chest/train/S/0.png", "chest/test/N/0.png"),
            [("N", "train"), ("S", "train"), ("N", "test")],
        ),
        (
            ("training_set/cats/0.png", "training_set/dogs/0.png", "test_set/cats/0.png"),
            [("cats", "train"), ("dogs", "train"), ("cats", "test")],
        ),
        (  # Tiny-ImageNet
            ("train/n1/images/0.png", "train/n2/images/0.png", "val/images/0.png"),
            [("n1", "train"), ("n2", "train"), (None, "validation")],
        ),
        (  # COCO
            ("train2017/0.png", "val2017/0.png", "test2017/0.png", "unlabeled2017/0.png"),
            [(None, "train"), (None, "validation"), (None, "test"), (None, None)],
        ),
        (  # MVTec: the class is around the split
            ("bottle/train/0.png", "bottle/test/0.png", "cable/train/0.png", "cable/test/0.png"),
            [("bottle", "train"), ("bottle", "test"), ("cable", "train"), ("cable", "test")],
        ),
        (("trainA/0.png", "testA/0.png"), [(None, "train"), (None, "test")]),
        (("train_march/0.png", "test_march/0.png"), [(None, "train"), (None, "test")]),
        (
            ("cats/0.png", "dogs/0.png", "test/0.png"),
            [("cats", None), ("dogs", None), (None, "test")],
        ),
        (
            ("car/0.png", "train/0.png", "bus/0.png"),
            [("car", None), ("train", None), ("bus", None)],
        ),
        (
            ("train/train/0.png", "train/val/0.png", "test/0.png"),
            [(None, "train"), (None, "validation"), (None, "test")],
        ),
        (
            ("cats/images/0.png", "dogs/imgs/0.png", "cows/0.png"),
            [("cats", None), ("dogs", None), ("cows", None)],
        ),
        (("one/images/0.png", "one/images/1.png"), [(None, None)] * 2),
        (
            ("art/photos/0.png", "art/drawings/0.png"),
            [("photos", None), ("drawings", None)],
        ),
        (("train_station/0.png", "park/0.png"), [("train_station", None), ("park", None)]),
    ],
)
def test_the_level_of_splits_and_labels_is_found(images, expected):
    assert labels_and_splits(*images) == expected


@pytest.mark.parametrize(
    ("images", "note"),
    [
        (("car/0.png", "train/1.png"), r"^train/ is not read as a split: "),
        (("train_station/0.png", "park/1.png"), r"^train_station/ is read as a label, not as"),
        (("cats/0.png", "1.png", "test/2.png"), r"^2 images in no folder of a split, .*: in cats/"),
        (("test/a/0.png", "test/b/1.png"), r"^no image to train on: .* split test$"),
        (("train_0.png", "test_1.png"), r"^file names begin with test, train: splits are not"),
        (("a/2020/0.png", "b/2021/1.png"), r"^labels are the innermost folders; .*: a, b$"),
        (("test/train/0.png", "test/val/1.png"), r"^folders of one split are in another: test/tr"),
    ],
)
def test_what_is_nearly_a_split_is_noted(images, note):
    assert any(re.search(note, text) for text in find_levels(images).notes)


@pytest.mark.parametrize(
    ("name", "split", "is_plain"),
    [
        *(("TRAIN", "train", True), ("train-00", "train", True), ("testset", "test", True)),
        *(("Validation Data", "validation", True), ("imagesTs", "test", True)),
        *(("held_out", "test", True), ("train_val", "train", True), ("my test", "test", True)),
        *(("dev_board", "validation", False), ("test_tubes", "test", False)),
        *(("contest", None, False), ("trainees", None, False), ("train_test", None, False)),
        ("test-held-out", "test-held-out", True),
    ],
)
def test_names_of_splits_are_recognized(name, split, is_plain):
    assert read_split_name(name).split == split
    assert read_split_name(name).is_plain == is_plain


LEVELS = st.sampled_from(["", "2021/", "2022/", "raw/a/", "train/x/"])


@settings(max_examples=20, deadline=None)
@given(
    labels=st.lists(st.sampled_from(["cat", "dog", ""]), min_size=4, max_size=4),
    folders=st.lists(LEVELS, min_size=4, max_size=4),
)
def test_folders_add_no_class_to_labels_of_metadata(labels, folders):
    if not any(labels):
        return
    with tempfile.TemporaryDirectory() as name:
        lines = ["file_name,label"]
        for i, (label, folder) in enumerate(zip(labels, folders, strict=True)):
            save(Path(name), f"{folder}{i}.png")
            lines.append(f"{folder}{i}.png,{label}")
        (Path(name) / "metadata.csv").write_text("\n".join(lines))
        images = load(name)
        by_name = dict(zip(images.names, images.labels.tolist(), strict=True))
        assert set(images.label_names) == set(labels) - {""}
        for i, (label, folder) in enumerate(zip(labels, folders, strict=True)):
            index = by_name[f"{folder}{i}.png"]
            assert (images.label_names[index] if index >= 0 else "") == label


def test_folders_that_are_no_labels_are_noted(tmp_path):
    for i, folder in enumerate(("cat", "dog", "cat")):
        save(tmp_path, f"{folder}/{i}.png")
    header, table = "file_name,label\n", tmp_path / "metadata.csv"
    table.write_text(f"{header}cat/0.png,cat\ndog/1.png,dog\ncat/2.png,cat\n")
    assert "folders are not" not in " ".join(load(tmp_path).notes)
    table.write_text(f"{header}cat/0.png,cat\ndog/1.png,fox\n")
    assert "not labels, as the metadata has labels; 1 image in" in " ".join(load(tmp_path).notes)
