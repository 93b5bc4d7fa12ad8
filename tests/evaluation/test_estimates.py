"""Standard errors against closed forms, against each other, and against repeated samples."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinxit.evaluation.estimates import (
    Estimate,
    bootstrap_estimate,
    bootstrap_rows,
    bootstrap_weights,
    estimate_from_sums,
    estimate_mean,
    estimate_proportion,
)
from pinxit.evaluation.metrics import with_names

SAMPLES = 300  # repeated samples of a test of coverage
Z = 1.96  # of a 95 % interval


def coverage(draw, estimate, true) -> float:
    """Return how often the 95 % interval of `estimate(draw(rng))` contains the true value."""
    rng = np.random.default_rng(0)
    estimates = [estimate(*draw(rng)) for _ in range(SAMPLES)]
    return float(np.mean([abs(e.value - true) <= Z * e.error for e in estimates]))


def draw_clusters(rng, *, binary: bool = False):
    """Return 40 groups of 1 to 12 values that share most of their variance, and their numbers."""
    sizes = rng.integers(1, 13, 40)
    groups = np.repeat(np.arange(40), sizes)
    values = rng.normal(0, 1, 40)[groups] + rng.normal(0, 0.3, len(groups))
    return (values > 0 if binary else values), rng.permutation(100)[groups]


def test_errors_of_means_are_those_of_the_textbook():
    values = np.array([1.0, 2.0, 4.0, 7.0])
    estimate = estimate_mean(values)
    assert estimate.value == 3.5
    assert estimate.error == pytest.approx(values.std(ddof=1) / 2)
    grouped = estimate_mean(np.repeat(values, 5), np.repeat([7, 1, 3, 2], 5))
    assert grouped.value == 3.5
    assert grouped.error == pytest.approx(estimate.error), "copies add no information"


def test_the_error_of_one_image_or_one_group_is_unknown():
    assert math.isnan(estimate_mean(np.array([3.0])).error)
    assert math.isnan(estimate_mean(np.array([3.0, 4.0]), np.array([1, 1])).error)
    assert math.isnan(estimate_proportion(np.array([True])).error)
    assert math.isnan(bootstrap_estimate(lambda rows: 1.0, 3, np.zeros(3, int)).error)
    assert math.isnan(estimate_from_sums(lambda sums: sums[:, 0], np.ones((1, 1))).error)


@pytest.mark.parametrize("binary", [False, True])
def test_intervals_over_groups_hold_the_true_mean(binary):
    true = 0.5 if binary else 0.0
    estimate = estimate_proportion if binary else estimate_mean

    def draw(rng):
        return draw_clusters(rng, binary=binary)

    assert 0.90 <= coverage(draw, estimate, true) <= 0.99
    ungrouped = coverage(draw, lambda values, groups: estimate(values), true)
    assert ungrouped < 0.8, "over images alone the error is too small"


@pytest.mark.parametrize(("p", "n"), [(0.5, 100), (0.9, 200), (0.98, 100), (0.99, 500)])
def test_intervals_of_proportions_hold_the_true_one(p, n):
    assert 0.90 <= coverage(lambda rng: (rng.random(n) < p,), estimate_proportion, p) <= 1.0


def test_all_right_is_not_certain():
    estimate = estimate_proportion(np.ones(100, bool))
    assert estimate.value == 1
    assert 0.01 < estimate.error < 0.02, "the upper limit of the error rate is about 3 / n"
    grouped = estimate_proportion(np.ones(100, bool), np.repeat(np.arange(10), 10))
    assert grouped.error == pytest.approx(estimate_proportion(np.ones(10, bool)).error)


@pytest.mark.parametrize("grouped", [False, True])
def test_the_bootstrap_and_the_jackknife_agree_with_the_error_of_a_mean(grouped):
    values, groups = draw_clusters(np.random.default_rng(1))
    groups = groups if grouped else None
    expected = estimate_mean(values, groups)
    boot = bootstrap_estimate(
        lambda rows: values[rows].mean(), len(values), groups, replicates=1000
    )
    assert boot.error == pytest.approx(expected.error, rel=0.12)
    sums = np.stack([values, np.ones(len(values))], 1)
    jackknife = estimate_from_sums(lambda rows: rows[:, 0] / rows[:, 1], sums, groups)
    assert jackknife.value == pytest.approx(expected.value)
    assert jackknife.error == pytest.approx(expected.error)
    assert np.allclose(jackknife.per_image, values)


@pytest.mark.parametrize("grouped", [False, True])
def test_intervals_of_a_ratio_hold_the_true_one(grouped):
    def draw(rng):
        values, groups = draw_clusters(rng)
        sums = np.stack([np.exp(values / 3), 2 + rng.random(len(values))], 1)
        return sums, groups if grouped else None

    sums, _ = draw(np.random.default_rng(7))
    many = np.concatenate([draw(np.random.default_rng(i))[0] for i in range(2000)])
    true = many[:, 0].mean() / many[:, 1].mean()
    assert len(sums) > 100

    def ratio(sums, groups):
        return estimate_from_sums(lambda rows: rows[:, 0] / rows[:, 1], sums, groups)

    if grouped:
        assert 0.90 <= coverage(draw, ratio, true) <= 0.99
    else:
        assert coverage(draw, ratio, true) < 0.8, "over images alone the error is too small"


def test_bootstrap_samples_are_of_whole_groups_and_reproducible():
    groups = np.array([5, 2, 5, 9, 2, 5])
    for rows in bootstrap_rows(6, groups, replicates=20):
        counts = np.bincount(rows, minlength=6)
        for group in (2, 5, 9):
            assert len(set(counts[groups == group])) == 1
    weights = bootstrap_weights(6, groups, replicates=20)
    assert weights.tolist() == [
        np.bincount(rows, minlength=6).tolist() for rows in bootstrap_rows(6, groups, replicates=20)
    ]


@given(st.integers(2, 30), st.integers(1, 10), st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_estimates_depend_neither_on_order_nor_on_numbers_of_groups(n, num_groups, seed):
    rng = np.random.default_rng(seed)
    values, groups = rng.normal(0, 1, n), rng.integers(0, num_groups, n)
    order, renamed = rng.permutation(n), rng.permutation(1000)[groups]
    for estimate in (
        estimate_mean,
        lambda v, g: estimate_proportion(v > 0, g),
        lambda v, g: estimate_from_sums(
            lambda sums: sums[:, 0] / sums[:, 1], np.stack([v, v**2 + 1], 1), g
        ),
    ):
        first, second = estimate(values, groups), estimate(values[order], renamed[order])
        assert first.value == pytest.approx(second.value)
        assert first.error == pytest.approx(second.error, nan_ok=True)


def test_names_are_added_where_each_image_has_a_value():
    metrics = [
        ("a", estimate_mean(np.arange(3.0))),
        ("b", Estimate(1.0, 0.1)),
        ("c", [1.0, 2.0]),
        ("d", estimate_mean(np.arange(2.0))),
    ]
    named = dict(with_names(metrics, ["x", "y", "z"]))
    assert named["a"].names == ["x", "y", "z"]
    assert named["b"].names == named["d"].names == ()
    assert named["c"] == [1.0, 2.0]
