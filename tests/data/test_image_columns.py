"""Columns of `Images`: refused in one line, or read by everything that shows them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinxit.data.contact_sheet import cell_texts, contact_sheet
from pinxit.data.description import describe, description_lines
from pinxit.data.image_columns import MAX_UNNAMED_LABELS
from pinxit.data.image_rows import ImageRows
from pinxit.data.images import Images
from pinxit.errors import UsageError
from pinxit.sampling.exports import describe_rows
from pinxit.sampling.inputs import join_images, match_labels
from pinxit.sampling.scores import score_rows
from tests.builders import blobs, build_vae

N = 3
PIXELS = blobs(N).pixels


class MeanScorer:
    """What `score_rows` reads of a model."""

    eight_bit = True
    info = blobs(N).info()


def lists(of: st.SearchStrategy) -> st.SearchStrategy:
    """Lists with an entry for each image, most of them."""
    return st.lists(of, min_size=N, max_size=N) | st.lists(of, max_size=N + 1)


TEXTS = lists(st.text(max_size=3)) | st.sampled_from(["abc", 3, [1, 2, 3], (None,) * N])
SEVERAL = lists(st.lists(st.text(max_size=3), max_size=2).map(tuple)) | TEXTS
NUMBERS = (
    lists(st.integers(-1, 4))
    | lists(st.integers(-3, 2**40))
    | lists(st.floats(0, 3) | st.booleans() | st.text(max_size=1) | st.none())
    | st.sampled_from([2, np.zeros((N, 1), int), "012", np.zeros(N, np.uint8), np.zeros(N)])
)
ARRAYS = NUMBERS | lists(st.integers(0, 3)).map(np.array)


@st.composite
def random_columns(draw) -> dict:
    """Some columns of `Images`: right ones, and each kind of wrong ones."""
    kinds = {
        "names": TEXTS,
        "labels": ARRAYS,
        "label_names": st.lists(st.text(max_size=3) | st.integers(), max_size=5)
        | st.lists(st.text(max_size=3), max_size=5).map(tuple)
        | st.just("abc"),
        "captions": st.dictionaries(st.sampled_from(["en", "fr"]), TEXTS) | st.just(["a"] * N),
        "more_captions": st.dictionaries(st.just("en"), SEVERAL),
        "keywords": st.dictionaries(st.just("en"), SEVERAL),
        "splits": ARRAYS,
        "groups": ARRAYS,
    }
    chosen = draw(st.lists(st.sampled_from(sorted(kinds)), unique=True, min_size=1, max_size=4))
    return {name: draw(kinds[name]) for name in chosen}


@settings(max_examples=400)
@given(columns=random_columns())
def test_columns_are_refused_in_one_line_or_read_by_all(columns):
    message = ""
    try:
        images = Images(PIXELS, **columns)
    except UsageError as error:
        message = str(error)
    if message:
        assert len(message.splitlines()) == 1
        return
    rows = describe_rows(images)
    assert all(len(column) == N for column in rows.values())
    assert len(list(score_rows(MeanScorer(), images, np.arange(N, dtype=float)))) == N
    texts = cell_texts(images)
    assert len(texts) == N
    contact_sheet(images, texts)
    describe(images)
    list(description_lines(images))
    reverse = images.take(np.arange(N)[::-1])
    assert describe_rows(reverse.take(np.arange(N)[::-1])) == rows
    assert len(images.take(np.arange(0))) == 0
    images.batch(np.array([1]))
    if images.labels is not None:
        assert images.labels.dtype == np.int64
        labels = [ImageRows.of(images).label(i) for i in range(N)]
        assert labels == rows["label"]


@given(labels=st.lists(st.integers(-1, 12), min_size=N, max_size=N))
def test_labels_without_names_are_called_by_their_numbers(labels):
    images = Images(PIXELS, labels=labels)
    assert images.label_names == tuple(map(str, range(max(labels) + 1)))
    expected = [None if label < 0 else str(label) for label in labels]
    assert describe_rows(images)["label"] == expected
    assert describe_rows(join_images([images[:1], images[1:]]))["label"] == expected
    taken = images.take(np.array([2]))
    assert taken.label_names == images.label_names


def test_labels_that_are_identifiers_need_names():
    labels = np.array([0, 1, MAX_UNNAMED_LABELS])
    with pytest.raises(UsageError, match="has no name: `label_names` has 0"):
        Images(PIXELS, labels=labels)


def test_labels_of_numbers_are_matched_to_those_of_a_model():
    model = build_vae(condition="label")
    renamed = dataclasses.replace(model.info, label_names=("0", "1", "2"))
    model.info = renamed
    images = Images(PIXELS, labels=[2, 0, -1])
    assert match_labels(model, images).labels.tolist() == [2, 0, -1]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"names": ["a"]}, "`names` has 1 entries, but `pixels` has 3 images"),
        ({"labels": [0, 1]}, "`labels` has 2 entries, but `pixels` has 3 images"),
        ({"labels": [0.5, 1, 2]}, "`labels` are integers, one for each image, not float64"),
        ({"labels": [0, 1, 2], "label_names": ("a", "b")}, "the label 2 has no name"),
        ({"labels": [0, 1, -2]}, "the label -2 has no name"),
        ({"captions": {"en": ["a"]}}, r"`captions\['en'\]` has 1 entries"),
        ({"captions": {"en": "abc"}}, r"`captions\['en'\]` are texts"),
        ({"keywords": {"en": ["a", "b", "c"]}}, r"`keywords\['en'\]` are tuples of texts"),
        ({"splits": [0, 1, 9]}, "no split 9; there are: 0 train, 1 validation"),
        ({"groups": ["a", "b", "c"]}, "`groups` are integers"),
        ({"before": PIXELS.astype(float)}, "`before` has uint8 pixels, not float64"),
    ],
)
def test_the_error_names_the_column(columns, message):
    with pytest.raises(UsageError, match=message):
        Images(PIXELS, **columns)
