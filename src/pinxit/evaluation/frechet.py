"""Frechet distance between two sets of images in a feature space.

Functions take `[n, features]` arrays and do not care where the features come from. The distance of
two samples of one distribution is not 0 but falls with their number: compare it with that of
training images, as many as there are samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64

from pinxit.data.images import Images
from pinxit.evaluation.estimates import Estimate, Groups
from pinxit.evaluation.gaussian_blur import filter_separably, gaussian_kernel
from pinxit.evaluation.jackknife import NUM_BLOCKS, Blocks, assign_blocks, jackknife_estimate

BATCH_SIZE = 256  # images that are blurred at once
BASELINE_BLUR = 1.0  # pixels: standard deviation of the blur in the blur baseline
MIN_IMAGES_PER_FEATURE = 10  # fewer: the distance is mostly the error of the covariances
WIDE = 128  # features; wider covariances take long to decompose,
NUM_WIDE_BLOCKS = 20  # so that fewer blocks are left out

Features = Float[np.ndarray, "n features"]


class Gaussian(NamedTuple):
    """Mean and covariance of features."""

    mean: Float64[np.ndarray, " features"]
    covariance: Float64[np.ndarray, "features features"]


def fit_gaussian(features: Features) -> Gaussian:
    """Return the mean and covariance of the features, in float64; that of one row is 0."""
    rows = np.asarray(features, np.float64)
    rows = rows if len(rows) > 1 else np.repeat(rows, 2, 0)
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


# -- standard error ----------------------------------------------------------------------------


def frechet_estimate(
    generated: Features,
    real: Features,
    groups: Groups | None = None,
    *,
    paired: bool = False,
    num_blocks: int | None = None,
) -> Estimate:
    """Return the Frechet distance of two sets, its error by the jackknife over both.

    `groups` are those of the real images; `paired` sets, such as images and their reconstructions,
    have the same rows.
    """
    if num_blocks is None:
        num_blocks = NUM_BLOCKS if generated.shape[1] <= WIDE else NUM_WIDE_BLOCKS
    real_blocks = assign_blocks(len(real), groups, num_blocks)
    num_blocks = int(real_blocks.max()) + 1
    blocks = real_blocks if paired else assign_blocks(len(generated), None, num_blocks, seed=1)
    value = frechet_distance(fit_gaussian(generated), fit_gaussian(real))
    sides = leave_out_gaussians(generated, blocks), leave_out_gaussians(real, real_blocks)
    return jackknife_estimate(value, (frechet_distance(a, b) for a, b in zip(*sides, strict=False)))


def leave_out_gaussians(features: Features, blocks: Blocks) -> Iterator[Gaussian]:
    """Yield the mean and covariance of the features without one block after the other.

    Computed from sums over blocks: one pass over the features for all of them.
    """
    rows = np.asarray(features, np.float64)
    center = rows.mean(0)
    rows = rows - center
    products = rows.T @ rows
    order = np.argsort(blocks, kind="stable")
    for part in np.split(rows[order], np.cumsum(np.bincount(blocks))[:-1]):
        n = len(rows) - len(part)
        if n < 2:
            return
        mean = -part.sum(0) / n  # all rows sum to 0
        covariance = (products - part.T @ part - n * np.outer(mean, mean)) / (n - 1)
        yield Gaussian(center + mean, covariance)


def blur(images: Images, sigma: float = BASELINE_BLUR) -> Images:
    """Blur the images with a Gaussian of `sigma` pixels."""
    kernel = gaussian_kernel(sigma)
    parts = [
        filter_separably(images.pixels[start : start + BATCH_SIZE].astype(np.float32), kernel)
        for start in range(0, len(images), BATCH_SIZE)
    ]
    return Images(np.concatenate(parts).round().clip(0, 255).astype(np.uint8))
