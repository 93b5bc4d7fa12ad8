"""Frechet distance and its error against slow definitions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm

from pinxit.evaluation.frechet import (
    Gaussian,
    fit_gaussian,
    frechet_distance,
    frechet_estimate,
    leave_out_gaussians,
)
from pinxit.evaluation.jackknife import assign_blocks


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


def test_gaussians_without_a_block_are_those_of_the_other_rows():
    rng = np.random.default_rng(0)
    features, blocks = 1e3 + rng.normal(size=(60, 5)), assign_blocks(60, num_blocks=7)
    for block, gaussian in enumerate(leave_out_gaussians(features, blocks)):
        expected = fit_gaussian(features[blocks != block])
        assert np.allclose(gaussian.mean, expected.mean)
        assert np.allclose(gaussian.covariance, expected.covariance)


def test_stated_errors_are_those_of_repeated_samples():
    rng = np.random.default_rng(0)
    estimates = [
        frechet_estimate(rng.normal(size=(300, 4)), rng.normal(0.5, 1.5, (200, 4)))
        for _ in range(60)
    ]
    scatter = np.std([estimate.value for estimate in estimates])
    assert 0.75 < np.mean([estimate.error for estimate in estimates]) / scatter < 1.33


def test_the_error_is_over_groups_of_the_real_images():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(30), 10)
    real = rng.normal(size=(30, 4))[groups] + 0.1 * rng.normal(size=(300, 4))
    generated = rng.normal(size=(300, 4)) + 1
    by_group, by_image = (frechet_estimate(generated, real, g) for g in (groups, None))
    assert by_group.value == by_image.value
    assert by_group.error > 1.5 * by_image.error


def test_the_error_of_paired_sets_is_that_of_their_differences():
    rng = np.random.default_rng(0)
    real = rng.normal(size=(200, 4))
    generated = 0.9 * real + 0.1 * rng.normal(size=(200, 4))
    paired, independent = (frechet_estimate(generated, real, paired=p) for p in (True, False))
    assert paired.value == independent.value
    assert paired.error < 0.8 * independent.error


@pytest.mark.parametrize("n", [2, 3, 5])
def test_few_images_have_a_distance(n):
    features = np.random.default_rng(0).normal(size=(2, n, 10))
    assert np.isfinite(frechet_estimate(*features).value)
