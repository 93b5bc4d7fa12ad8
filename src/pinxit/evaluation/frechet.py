"""How near made images are to real ones as a whole, in a stated feature space.

`[n, features]` arrays in, numbers out: the functions do not care where the features come from.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64

from pinxit.data.images import Images
from pinxit.evaluation.metrics import MetricValue

NEIGHBOURS = 5  # Naeem 2020
MOST = 3_000  # images whose neighbours are found
BLUR = 1.0  # pixels: standard deviation of the blur that is the yardstick

Rows = Float[np.ndarray, "n features"]


class Gaussian(NamedTuple):
    """Mean and covariance of features."""

    mean: Float64[np.ndarray, " features"]
    covariance: Float64[np.ndarray, "features features"]


def fit_gaussian(features: Rows) -> Gaussian:
    """The Gaussian with the features' mean and covariance, in float64."""
    rows = np.asarray(features, np.float64)
    return Gaussian(rows.mean(0), np.atleast_2d(np.cov(rows, rowvar=False)))


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
    """|m_a - m_b|^2 + tr(A + B - 2 (A^1/2 B A^1/2)^1/2) (Frechet 1957; Heusel 2017, eq. 6).

    The root by symmetric eigen-decompositions, which stays real where A or B is singular.
    """
    root = _matrix_sqrt(a.covariance)
    mixed = np.linalg.eigvalsh(root @ b.covariance @ root)
    trace = np.trace(a.covariance) + np.trace(b.covariance)
    trace -= 2 * np.sqrt(np.maximum(mixed, 0)).sum()
    return float(max(0.0, np.square(a.mean - b.mean).sum() + trace))


def _matrix_sqrt(matrix: Float64[np.ndarray, "n n"]) -> Float64[np.ndarray, "n n"]:
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


def prdc_metrics(real: Rows, made: Rows, k: int = NEIGHBOURS) -> Iterator[MetricValue]:
    """Precision and recall (Kynkaanniemi 2019), density and coverage (Naeem 2020).

    An image's neighbourhood is the ball to its k-th nearest neighbour among its own kind.
    """
    real, made = _few(real), _few(made)
    k = min(k, len(real) - 1, len(made) - 1)
    if k < 1:
        return
    apart = _distances(real, made)  # [real, made]
    real_radius, made_radius = _radius(real, k), _radius(made, k)
    within = apart < real_radius[:, None]
    yield "precision", float(within.any(0).mean())
    yield "recall", float((apart < made_radius[None]).any(1).mean())
    yield "density", float(within.sum(0).mean() / k)
    yield "coverage", float(within.any(1).mean())


def memorisation_rate(train: Rows, test: Rows, made: Rows) -> float:
    """Share of samples nearer to a training image than the nearest 1 % of test images are.

    About 0.01 for samples that are as new as the test images; far above for copies.
    """
    own = _distances(_few(test), train).min(1)
    return float((_distances(_few(made), train).min(1) < np.quantile(own, 0.01)).mean())


def _few(rows: Rows) -> Rows:
    return rows[:MOST]


def _radius(rows: Rows, k: int) -> np.ndarray:
    return np.partition(_distances(rows, rows), k, axis=1)[:, k]  # 0 is the image itself


def _distances(a: Rows, b: Rows) -> np.ndarray:
    import torch

    one, two = torch.from_numpy(np.ascontiguousarray(a)), torch.from_numpy(np.ascontiguousarray(b))
    # exact, since a copy's distance must be 0 and the quick way leaves rounding
    return torch.cdist(one, two, compute_mode="donot_use_mm_for_euclid_dist").numpy()


def blur(images: Images, sigma: float = BLUR) -> Images:
    """The images behind a Gaussian blur: the yardstick of what a distance means."""
    from scipy.ndimage import gaussian_filter

    soft = [gaussian_filter(one.astype(np.float32), (sigma, sigma, 0)) for one in images.pixels]
    return Images(np.stack(soft).round().clip(0, 255).astype(np.uint8))
