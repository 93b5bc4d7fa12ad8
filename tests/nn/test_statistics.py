"""k-means, principal components and logistic regression, against scikit-learn and by definition."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pinxit.nn.kmeans import kmeans, nearest_centers
from pinxit.nn.logistic_regression import fit_logistic_regression
from pinxit.nn.principal_components import fit_principal_components


def clouds(k: int, n: int = 40, dim: int = 3, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    centers = 4 * torch.randn(k, 1, dim, generator=generator)
    return (centers + torch.randn(k, n, dim, generator=generator)).flatten(0, 1)


def inertia(points: torch.Tensor, centers: torch.Tensor) -> float:
    return float(torch.cdist(points.double(), centers.double()).min(1).values.square().sum())


@pytest.mark.parametrize("k", [1, 5, 20])
def test_kmeans_is_as_good_as_that_of_scikit_learn(k):
    points = clouds(20)
    reference = KMeans(k, n_init=4, random_state=0).fit(points.numpy())
    ours = inertia(points, kmeans(points, k, 0, restarts=4))
    assert ours <= 1.03 * float(reference.inertia_)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 12), st.integers(1, 6), st.integers(0, 3), st.integers(0, 2**32 - 1))
def test_kmeans_of_points_with_copies_is_finite_and_repeatable(n, k, spread, seed):
    generator = np.random.default_rng(seed)
    points = torch.from_numpy(generator.integers(0, spread + 1, (n, 2)).astype(np.float32))
    if k > n:
        with pytest.raises(ValueError, match="clusters"):
            kmeans(points, k, seed)
        return
    centers = kmeans(points, k, seed)
    assert centers.shape == (k, 2)
    assert centers.isfinite().all()
    assert torch.equal(centers, kmeans(points, k, seed))
    if k >= len(points.unique(dim=0)):
        assert inertia(points, centers) < 1e-6, "each distinct point has a center"


def test_nearest_centers_are_the_nearest():
    points, centers = clouds(5), clouds(7, 1, seed=1)
    nearest, squares = nearest_centers(points, centers)
    distances = torch.cdist(points, centers)
    assert torch.equal(nearest, distances.argmin(1))
    assert torch.allclose(squares, distances.min(1).values.square(), atol=1e-3)


@pytest.mark.parametrize("shape", [(50, 6), (8, 30), (6, 6), (3, 4)])
def test_principal_components_are_those_of_scikit_learn(shape):
    points = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * torch.arange(
        1, shape[1] + 1
    )
    ours, reference = fit_principal_components(points, 2), PCA(2).fit(points.numpy())
    signs = np.sign((ours.directions.numpy() * reference.components_).sum(1, keepdims=True))
    assert np.allclose(ours.directions * signs, reference.components_, atol=1e-4)
    assert np.allclose(ours.variance_share, reference.explained_variance_ratio_, atol=1e-5)
    assert np.allclose(ours.project(points) * signs.T, reference.transform(points), atol=1e-3)
    again = ours.project(ours.reconstruct(ours.project(points)))
    assert torch.allclose(again, ours.project(points), atol=1e-3)


@pytest.mark.parametrize("points", [torch.ones(5, 3), torch.eye(3)[:2], torch.zeros(1, 4)])
def test_directions_are_orthonormal_also_without_variance(points):
    directions = fit_principal_components(points, 2).directions
    assert torch.allclose(directions @ directions.T, torch.eye(len(directions)), atol=1e-6)


@pytest.mark.parametrize("c", [0.01, 1.0])
def test_logistic_regression_is_that_of_scikit_learn(c):
    generator = np.random.default_rng(0)
    features = generator.normal(size=(120, 5)) * np.arange(1, 6) + 3
    features = np.concatenate([features, np.ones((120, 1))], 1).astype(np.float32)
    labels = (features[:, 0] + generator.normal(size=120) > 3) + 2 * (features[:, 1] > 4)
    labels = np.array([2, 5, 6, 9])[labels.astype(int)]
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=2_000, tol=1e-9))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        probe.fit(features, labels)
    ours = fit_logistic_regression(features, labels, c)
    expected = probe.predict_log_proba(features)
    logits = torch.from_numpy(ours.logits(features)).log_softmax(1)
    assert np.allclose(logits, expected, atol=1e-3)
    assert (ours.predict(features) == probe.predict(features)).all()


def test_two_classes_without_intercept_have_the_loss_of_one_weight_vector():
    generator = np.random.default_rng(1)
    x = generator.normal(size=(60, 4))
    y = (x[:, 0] + 0.5 * generator.normal(size=60) > 0).astype(int)
    reference = LogisticRegression(C=0.1, fit_intercept=False, tol=1e-9).fit(x, y)
    ours = fit_logistic_regression(x, y, 0.05, standardize=False, intercept=False)
    assert np.allclose(ours.weight[1] - ours.weight[0], reference.coef_[0], atol=1e-4)
    assert not ours.bias.any()
