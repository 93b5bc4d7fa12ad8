"""Splits depend on names, not on their order, and no split is empty if that can be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinxit.data.images import NO_SPLIT, SPLITS
from pinxit.data.splits import assign_splits, hash_fraction, parse_split, split_from_filename

names = st.lists(st.text(min_size=1, max_size=12), unique=True, min_size=1, max_size=60)
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


@pytest.mark.parametrize("count", range(1, 61))
def test_small_sources_have_every_split_close_to_its_share(count):
    for ending in (".png", ".jpg", "_001.webp"):
        names = [f"{i}{ending}" for i in range(count)]
        train, validation, test = np.bincount(assign_splits(names, [None] * count), minlength=3)
        if count < 3:
            assert train == count
            continue
        assert min(train, validation, test) >= 1
        if count >= 10:
            assert train / count >= 0.75
            assert test / count == pytest.approx(0.10, abs=0.05)
            assert validation / count == pytest.approx(0.10, abs=0.06)


@pytest.mark.parametrize(("count", "least", "most"), [(300, 30, 37), (450, 30, 37), (800, 30, 50)])
def test_about_30_images_or_5_percent_choose_the_weights(count, least, most):
    splits = assign_splits([f"{i}.png" for i in range(count)], [None] * count)
    assert least <= (splits == 1).sum() <= most


@pytest.mark.parametrize("count", [3, 5, 8, 10])
def test_tiny_sources_train_on_most_of_their_images(count):
    splits = assign_splits([f"{i}.png" for i in range(count)], [None] * count)
    assert (splits == 0).sum() == count - 2


def test_adding_an_image_to_a_large_source_changes_no_other_split():
    names = [f"{i}.png" for i in range(3_000)]
    before = splits_by_name(names, [None] * len(names))
    for another in ("a.png", "b.png", "0000.png"):
        after = splits_by_name([another, *names], [None] * (len(names) + 1))
        assert {name: after[name] for name in names} == before


def test_adding_an_image_to_a_small_source_changes_few_splits():
    names = [f"{i}.png" for i in range(40)]
    before = splits_by_name(names, [None] * len(names))
    for another in ("a.png", "b.png", "0000.png"):
        after = splits_by_name([another, *names], [None] * (len(names) + 1))
        assert sum(after[name] != before[name] for name in names) <= 3


@given(names, st.data())
def test_validation_and_test_splits_of_the_source_are_kept(names, data):
    source_splits = [data.draw(split_words) for _ in names]
    splits = assign_splits(names, source_splits)
    for split, source_split in zip(splits, source_splits, strict=True):
        if source_split in ("validation", "test"):
            assert SPLITS[split] == source_split


@settings(deadline=None)
@given(names, st.data())
def test_no_unit_is_in_two_splits(names, data):
    units = np.array([data.draw(st.integers(0, len(names) // 2)) for _ in names])
    source_splits = [data.draw(split_words) for _ in names] if data.draw(st.booleans()) else None
    splits = assign_splits(names, source_splits or [None] * len(names), units)
    for unit in np.unique(units):
        assert len(set(splits[units == unit].tolist()) - {NO_SPLIT}) == 1
    if source_splits is None:
        assert NO_SPLIT not in splits
        if len(np.unique(units)) >= 3:
            assert set(splits.tolist()) == {0, 1, 2}
    for split, source_split in zip(splits, source_splits or (), strict=False):
        if source_split == "test":
            assert SPLITS[split] == "test"
        if split == NO_SPLIT:
            assert source_split != "test"


def test_large_units_are_training_images():
    units = np.array([0] * 40 + list(range(1, 61)))
    splits = assign_splits([f"{i}.png" for i in range(100)], [None] * 100, units)
    assert (splits[:40] == 0).all()
    assert np.bincount(splits)[2] == pytest.approx(10, abs=2.5)


def test_units_of_any_size_are_divided_by_the_same_fractions():
    # the smallest hash of a unit would put nearly all large units into test
    units = np.arange(20_000) // 10
    splits = assign_splits([f"{i}.png" for i in range(20_000)], [None] * 20_000, units)
    assert np.bincount(splits) / 20_000 == pytest.approx([0.85, 0.05, 0.10], abs=0.02)


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


def test_a_source_that_gains_a_test_split_keeps_its_validation_images():
    names = [f"{i}.png" for i in range(5_000)]
    alone = assign_splits(names, [None] * 5_000)
    more = [f"test-{i}.png" for i in range(1_000)]
    with_test = assign_splits([*names, *more], [*["train"] * 5_000, *["test"] * 1_000])
    assert (np.flatnonzero(alone == 1) == np.flatnonzero(with_test == 1)).all()


def test_composed_and_decomposed_unicode_names_have_one_hash():
    assert hash_fraction("caf\u00e9.png") == hash_fraction("cafe\u0301.png")
    assert hash_fraction("caf\u00e9.png") != hash_fraction("cafe.png")


def test_sources_of_one_or_two_images_are_training_images():
    name = next(f"{i}" for i in range(99) if hash_fraction(f"{i}") < 0.1)
    assert assign_splits([name], [None]).tolist() == [0]
    assert assign_splits([name, "other"], [None, None]).tolist() == [0, 0]
    assert assign_splits([name], ["test"]).tolist() == [2]  # a split of the source is kept


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
