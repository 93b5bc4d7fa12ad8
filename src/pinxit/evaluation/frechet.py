"""Distances between two sets of images in a feature space.

Functions take `[n, features]` arrays and do not care where the features come from.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64
from scipy.ndimage import gaussian_filter

from pinxit.data.images import Images
from pinxit.evaluation.metrics import MetricValue

NUM_NEIGHBOURS = 5  # Naeem 2020
MAX_NEIGHBOUR_IMAGES = 3_000  # images per set whose pairwise distances are computed
BASELINE_BLUR = 1.0  # pixels: standard deviation of the blur in the blur baseline

Features = Float[np.ndarray, "n features"]


class Gaussian(NamedTuple):
    """Mean and covariance of features."""

    mean: Float64[np.ndarray, " features"]
    covariance: Float64[np.ndarray, "features features"]


def fit_gaussian(features: Features) -> Gaussian:
    """Return the mean and covariance of the features, in float64."""
    rows = np.asarray(features, np.float64)
    return Gaussian(rows.mean(0), np.atleast_2d(np.cov(rows, rowvar=False)))


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
    """|m_a - m_b|^2 + tr(A + B - 2 (A^1/2 B A^1/2)^1/2) (Frechet 1957; Heusel 2017, eq. 6).

    The roots come from symmetric eigendecompositions: real even where A or B is singular.
    """
    root = _matrix_sqrt(a.covariance)
    eigenvalues = np.linalg.eigvalsh(root @ b.covariance @ root)
    trace = np.trace(a.covariance) + np.trace(b.covariance)
    trace -= 2 * np.sqrt(np.maximum(eigenvalues, 0)).sum()
    return float(max(0.0, np.square(a.mean - b.mean).sum() + trace))


def _matrix_sqrt(matrix: Float64[np.ndarray, "n n"]) -> Float64[np.ndarray, "n n"]:
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


def prdc_metrics(
    real: Features, generated: Features, k: int = NUM_NEIGHBOURS
) -> Iterator[MetricValue]:
    """Yield precision and recall (Kynkaanniemi 2019), density and coverage (Naeem 2020).

    The neighbourhood of an image is the ball up to its k-th nearest neighbour in its own set.
    """
    real, generated = real[:MAX_NEIGHBOUR_IMAGES], generated[:MAX_NEIGHBOUR_IMAGES]
    k = min(k, len(real) - 1, len(generated) - 1)
    if k < 1:
        return
    distances = _pairwise_distances(real, generated)
    real_radius, generated_radius = _kth_distance(real, k), _kth_distance(generated, k)
    is_near_real = distances < real_radius[:, None]
    yield "precision", float(is_near_real.any(0).mean())
    yield "recall", float((distances < generated_radius[None]).any(1).mean())
    yield "density", float(is_near_real.sum(0).mean() / k)
    yield "coverage", float(is_near_real.any(1).mean())


def memorisation_rate(train: Features, test: Features, generated: Features) -> float:
    """Return the fraction of samples closer to a training image than the closest 1 % of test
    images are.

    About 0.01 for samples as new as the test images, far above for copies.
    """
    test_distance = _pairwise_distances(test[:MAX_NEIGHBOUR_IMAGES], train).min(1)
    distance = _pairwise_distances(generated[:MAX_NEIGHBOUR_IMAGES], train).min(1)
    return float((distance < np.quantile(test_distance, 0.01)).mean())


def _kth_distance(features: Features, k: int) -> Float[np.ndarray, " n"]:
    """Distance of each row to its k-th nearest other row."""
    return np.partition(_pairwise_distances(features, features), k, axis=1)[:, k]  # 0 is itself


def _pairwise_distances(a: Features, b: Features) -> Float[np.ndarray, "a b"]:
    first, second = (torch.from_numpy(np.ascontiguousarray(rows)) for rows in (a, b))
    # the matrix-product path leaves rounding errors, but the distance to a copy must be 0
    return torch.cdist(first, second, compute_mode="donot_use_mm_for_euclid_dist").numpy()


def blur(images: Images, sigma: float = BASELINE_BLUR) -> Images:
    """Blur the images with a Gaussian of `sigma` pixels."""
    soft = [gaussian_filter(image.astype(np.float32), (sigma, sigma, 0)) for image in images]
    return Images(np.stack(soft).round().clip(0, 255).astype(np.uint8))
