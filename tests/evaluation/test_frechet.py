"""Frechet distance, precision, recall, density and coverage against slow definitions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm

from pinxit.evaluation.frechet import (
    Gaussian,
    fit_gaussian,
    frechet_distance,
    memorisation_rate,
    prdc_metrics,
)


def test_frechet_distance_of_diagonal_gaussians_has_a_closed_form():
    a = Gaussian(np.zeros(3), np.diag([1.0, 4.0, 9.0]))
    b = Gaussian(np.array([1.0, 2.0, 2.0]), np.diag([4.0, 4.0, 1.0]))
    assert frechet_distance(a, b) == pytest.approx(9 + (1 + 0 + 4))


def test_frechet_distance_equals_that_by_the_matrix_square_root():
    rng = np.random.default_rng(0)
    a = fit_gaussian(rng.normal(size=(200, 6)) @ rng.normal(size=(6, 6)))
    b = fit_gaussian(rng.normal(size=(200, 6)) @ rng.normal(size=(6, 6)) + 1)
    root = sqrtm(a.covariance @ b.covariance).real
    expected = np.square(a.mean - b.mean).sum()
    expected += np.trace(a.covariance + b.covariance - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a))


def test_frechet_distance_of_singular_covariances():
    features = np.random.default_rng(0).normal(size=(4, 10))  # fewer rows than features
    a = fit_gaussian(features)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(a, fit_gaussian(features + 1)) == pytest.approx(10)


def prdc_by_loops(real, generated, k):
    """Precision, recall, density and coverage by the sums of their papers."""

    def radius(rows):
        return [sorted(np.linalg.norm(rows - row, axis=1))[k] for row in rows]

    real_radius, generated_radius = radius(real), radius(generated)
    inside = np.array(
        [[np.linalg.norm(r - g) < real_radius[i] for g in generated] for i, r in enumerate(real)]
    )
    covered = [
        any(np.linalg.norm(r - g) < generated_radius[j] for j, g in enumerate(generated))
        for r in real
    ]
    return {
        "precision": np.mean(inside.any(0)),
        "recall": np.mean(covered),
        "density": inside.sum() / (k * len(generated)),
        "coverage": np.mean(inside.any(1)),
    }


def test_prdc_metrics_equal_those_by_loops():
    rng = np.random.default_rng(0)
    real, generated = rng.normal(size=(40, 3)), rng.normal(0.5, 0.7, (30, 3))
    metrics = dict(prdc_metrics(real, generated, k=3))
    assert metrics == pytest.approx(prdc_by_loops(real, generated, 3))


def test_memorisation_detects_copies_of_training_images():
    rng = np.random.default_rng(0)
    train, test, new = (rng.normal(size=(300, 8)) for _ in range(3))
    assert memorisation_rate(train, test, new) < 0.05
    assert memorisation_rate(train, test, train[:50]) == 1
