"""Splits hang on names alone."""

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
words = st.sampled_from([None, "train", "validation", "test"])


def by_name(names, given):
    return dict(zip(names, assign_splits(names, given), strict=True))


@given(names, st.randoms())
def test_order_moves_nothing(names, random):
    shuffled = list(names)
    random.shuffle(shuffled)
    assert by_name(names, [None] * len(names)) == by_name(shuffled, [None] * len(names))


@given(names, st.text(min_size=13, max_size=20))
def test_adding_an_image_moves_no_other(names, another):
    before = by_name(names, [None] * len(names))
    after = by_name([another, *names], [None] * (len(names) + 1))
    assert {name: after[name] for name in names} == before


@given(names, st.data())
def test_what_the_source_says_holds(names, data):
    given = [data.draw(words) for _ in names]
    splits = assign_splits(names, given)
    for split, said in zip(splits, given, strict=True):
        if said in ("validation", "test"):
            assert SPLITS[split] == said


def test_shares_are_as_said():
    many = [f"{i}.png" for i in range(20_000)]
    shares = np.bincount(assign_splits(many, [None] * len(many)), minlength=3) / len(many)
    assert shares == pytest.approx([0.85, 0.05, 0.10], abs=0.006)
    with_test = [*["train"] * 15_000, *["test"] * 5_000]
    counts = np.bincount(assign_splits(many, with_test), minlength=3)
    assert counts[2] == 5_000
    assert counts[1] / 15_000 == pytest.approx(0.05, abs=0.006)
    whole = [*["train"] * 15_000, *["test"] * 4_000, *["validation"] * 1_000]
    assert np.bincount(assign_splits(many, whole)).tolist() == [15_000, 1_000, 4_000]


def test_composed_and_decomposed_letters_are_one_name():
    assert hash_fraction("caf\u00e9.png") == hash_fraction("cafe\u0301.png")
    assert hash_fraction("caf\u00e9.png") != hash_fraction("cafe.png")


def test_a_source_of_one_image_can_be_trained_on():
    name = next(f"{i}" for i in range(99) if hash_fraction(f"{i}") < 0.1)
    splits = assign_splits([name], [None])
    assert splits.tolist() == [2]
    assert ensure_training_split(splits, [None]).tolist() == [0]
    assert ensure_training_split(splits, ["test"]).tolist() == [2]  # there the source has said it


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
def test_a_files_name_tells_its_split(file, split):
    assert split_from_filename(file) == split


def test_words_for_splits():
    assert [parse_split(w) for w in ("Valid", "dev", "testing", "cats")] == [
        "validation",
        "validation",
        "test",
        None,
    ]
