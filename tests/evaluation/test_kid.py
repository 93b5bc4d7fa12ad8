"""The kernel distance against its definition."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pinxit.evaluation import kid
from pinxit.evaluation.kid import kid_estimate


def kid_by_loops(generated, real):
    """The unbiased squared discrepancy, pair by pair."""
    center, scale = real.mean(0), real.std()
    x, y = (generated - center) / scale, (real - center) / scale

    def kernel(a, b):
        return (a @ b / len(a) + 1) ** 3

    within = [
        np.mean([kernel(a, b) for i, a in enumerate(rows) for j, b in enumerate(rows) if i != j])
        for rows in (x, y)
    ]
    return sum(within) - 2 * np.mean([kernel(a, b) for a in x for b in y])


def test_kid_equals_that_by_loops(monkeypatch):
    monkeypatch.setattr(kid, "KERNEL_ROWS", 7)
    rng = np.random.default_rng(0)
    generated, real = rng.normal(size=(20, 5)), rng.normal(0.3, 1.2, (30, 5))
    estimate = kid_estimate(generated, real)
    assert estimate.value == pytest.approx(kid_by_loops(generated, real), rel=1e-4)


def test_kid_of_small_samples_of_one_distribution_is_0_on_average():
    rng = np.random.default_rng(0)
    estimates = [kid_estimate(*rng.normal(size=(2, 20, 8))) for _ in range(100)]
    values = np.array([estimate.value for estimate in estimates])
    assert abs(values.mean()) < 3 * values.std() / 10
    assert min(values) < 0
    stated = np.mean([estimate.error for estimate in estimates])
    assert 0.6 < stated / values.std() < 2


def test_kid_needs_two_images_on_each_side():
    assert math.isnan(kid_estimate(np.zeros((1, 3)), np.ones((5, 3))).value)
    assert math.isfinite(kid_estimate(np.zeros((2, 3)), np.zeros((5, 3))).value)
