"""Samples of rows are spread over labels and groups in whatever order the source has them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinxit.data.images import Images
from pinxit.data.row_samples import sample_rows


def images_of(labels=None, groups=None, n=None) -> Images:
    n = n or len(labels if labels is not None else groups)
    return Images(np.zeros((n, 4, 4, 1), np.uint8), labels=labels, groups=groups)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.integers(-1, 9), min_size=1, max_size=300), st.integers(1, 100), st.integers(0, 9)
)
def test_each_label_has_its_share_in_any_order(labels, max_rows, seed):
    for order in (sorted(labels), labels):
        images = images_of(np.array(order))
        rows = sample_rows(images, np.arange(len(labels)), max_rows, seed)
        assert len(rows) == min(max_rows, len(labels))
        assert (np.diff(rows) > 0).all()
        for label in set(labels):
            share = len(rows) * order.count(label) / len(labels)
            assert abs((images.labels[rows] == label).sum() - share) < 2


def test_groups_have_their_share():
    groups = np.repeat(np.arange(50), 20)
    rows = sample_rows(images_of(groups=groups), np.arange(1000), 100)
    counts = np.bincount(groups[rows], minlength=50)
    assert counts.min() >= 1
    assert counts.max() <= 3


def test_images_without_labels_are_drawn_from_the_whole_source_without_a_period():
    rows = sample_rows(images_of(n=1000), np.arange(1000), 100)
    assert rows[0] < 10
    assert rows[-1] >= 990
    assert (rows % 2).mean() == pytest.approx(0.5, abs=0.2)


def test_the_sample_is_a_function_of_the_seed_and_within_the_rows():
    images, rows = images_of(np.arange(500) % 7), np.arange(100, 400)
    first = sample_rows(images, rows, 50, seed=3)
    assert (first == sample_rows(images, rows, 50, seed=3)).all()
    assert (first != sample_rows(images, rows, 50, seed=4)).any()
    assert np.isin(first, rows).all()
    assert sample_rows(images, rows, 300) is rows
