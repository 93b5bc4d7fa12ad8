"""Random rows, blocks, and the error by leaving blocks out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinxit.evaluation.estimates import estimate_mean
from pinxit.evaluation.jackknife import assign_blocks, jackknife_estimate, random_rows


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(0, 1000), st.integers(2, 10), st.integers(100, 300))
def test_random_rows_of_sorted_labels_have_the_labels_frequencies(seed, num_labels, max_rows):
    labels = np.sort(np.random.default_rng(seed).integers(0, num_labels, 2_000))
    rows = random_rows(len(labels), max_rows, seed)
    assert len(np.unique(rows)) == max_rows
    expected = np.bincount(labels) / len(labels)
    frequencies = np.bincount(labels[rows], minlength=num_labels) / max_rows
    error = np.sqrt(expected * (1 - expected) / max_rows)
    assert (np.abs(frequencies - expected) < 5 * error).all()


def test_all_rows_are_taken_if_there_are_few():
    assert random_rows(3, 5).tolist() == [0, 1, 2]
    assert random_rows(0, 5).tolist() == []


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=100))
def test_blocks_do_not_divide_groups(groups):
    groups = np.array(groups)
    blocks = assign_blocks(len(groups), groups, num_blocks=7)
    assert set(blocks.tolist()) == set(range(min(7, len(np.unique(groups)))))
    for group in np.unique(groups):
        assert len(np.unique(blocks[groups == group])) == 1


def test_the_jackknife_of_a_mean_is_its_standard_error():
    values = np.random.default_rng(0).normal(size=40)
    left_out = [np.delete(values, i).mean() for i in range(40)]
    estimate = jackknife_estimate(values.mean(), left_out)
    assert estimate.error == pytest.approx(estimate_mean(values).error)
    assert math.isnan(jackknife_estimate(1.0, []).error)
