"""Splits depend on names only."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinxit.data.images import SPLITS
from pinxit.data.splits import (
    assign_splits,
    ensure_training_split,
    hash_fraction,
    parse_split,
    split_from_filename,
)

names = st.lists(st.text(min_size=1, max_size=12), unique=True, min_size=1, max_size=40)
split_words = st.sampled_from([None, "train", "validation", "test"])


def splits_by_name(names, source_splits):
    return dict(zip(names, assign_splits(names, source_splits), strict=True))


@given(names, st.randoms())
def test_splits_do_not_depend_on_the_order(names, random):
    shuffled = list(names)
    random.shuffle(shuffled)
    assert splits_by_name(names, [None] * len(names)) == splits_by_name(
        shuffled, [None] * len(names)
    )


@given(names, st.text(min_size=13, max_size=20))
def test_adding_an_image_changes_no_other_split(names, another):
    before = splits_by_name(names, [None] * len(names))
    after = splits_by_name([another, *names], [None] * (len(names) + 1))
    assert {name: after[name] for name in names} == before


@given(names, st.data())
def test_validation_and_test_splits_of_the_source_are_kept(names, data):
    source_splits = [data.draw(split_words) for _ in names]
    splits = assign_splits(names, source_splits)
    for split, source_split in zip(splits, source_splits, strict=True):
        if source_split in ("validation", "test"):
            assert SPLITS[split] == source_split


def test_split_fractions_are_85_5_and_10_percent():
    image_names = [f"{i}.png" for i in range(20_000)]
    shares = np.bincount(assign_splits(image_names, [None] * len(image_names)), minlength=3) / len(
        image_names
    )
    assert shares == pytest.approx([0.85, 0.05, 0.10], abs=0.006)
    train_and_test = [*["train"] * 15_000, *["test"] * 5_000]
    counts = np.bincount(assign_splits(image_names, train_and_test), minlength=3)
    assert counts[2] == 5_000
    assert counts[1] / 15_000 == pytest.approx(0.05, abs=0.006)
    all_splits = [*["train"] * 15_000, *["test"] * 4_000, *["validation"] * 1_000]
    assert np.bincount(assign_splits(image_names, all_splits)).tolist() == [15_000, 1_000, 4_000]


def test_composed_and_decomposed_unicode_names_have_one_hash():
    assert hash_fraction("caf\u00e9.png") == hash_fraction("cafe\u0301.png")
    assert hash_fraction("caf\u00e9.png") != hash_fraction("cafe.png")


def test_a_source_of_one_image_has_a_training_image():
    name = next(f"{i}" for i in range(99) if hash_fraction(f"{i}") < 0.1)
    splits = assign_splits([name], [None])
    assert splits.tolist() == [2]
    assert ensure_training_split(splits, [None]).tolist() == [0]
    assert ensure_training_split(splits, ["test"]).tolist() == [2]  # a split of the source is kept


@pytest.mark.parametrize(
    ("file", "split"),
    [
        ("train-00000-of-00002.parquet", "train"),
        ("val-0001.tar", "validation"),
        ("t10k-images-idx3-ubyte.gz", "test"),
        ("testimony.parquet", None),
        ("clothing.parquet", None),
    ],
)
def test_splits_are_read_from_file_names(file, split):
    assert split_from_filename(file) == split


def test_split_synonyms_are_parsed():
    assert [parse_split(w) for w in ("Valid", "dev", "testing", "cats")] == [
        "validation",
        "validation",
        "test",
        None,
    ]
