"""How far two sets of images cover each other in a feature space.

Precision and recall (Kynkaanniemi 2019), density and coverage (Naeem 2020). The neighbourhood of an
image is the ball up to its k-th nearest neighbour in its own set. Balls shrink with the number of
images: as many are taken from one set as from the other.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64

from pinxit.evaluation.estimates import Estimate, Groups, estimate_proportion
from pinxit.evaluation.jackknife import Blocks, assign_blocks, jackknife_estimate, random_rows
from pinxit.evaluation.metrics import MetricValue

NUM_NEIGHBOURS = 5  # Naeem 2020
MAX_NEIGHBOUR_IMAGES = 3_000  # images per set whose pairwise distances are computed

Features = Float[np.ndarray, "n features"]


def prdc_metrics(
    real: Features, generated: Features, groups: Groups | None = None, k: int = NUM_NEIGHBOURS
) -> Iterator[MetricValue]:
    """Yield precision, recall, density and coverage of random rows, equally many of both sets.

    `groups` are those of the real images. Errors are by the jackknife over both sets.
    """
    n = min(len(real), len(generated), MAX_NEIGHBOUR_IMAGES)
    k = min(k, n - 1)
    if k < 1:
        return
    rows = random_rows(len(real), n)
    real, generated = real[rows], generated[random_rows(len(generated), n, seed=1)]
    blocks = assign_blocks(n, None if groups is None else groups[rows])
    generated_blocks = assign_blocks(n, None, int(blocks.max()) + 1, seed=1)
    balls = find_balls(real, generated, k)
    values, left_out = prdc(balls, k), leave_out_prdc(balls, k, blocks, generated_blocks)
    for i, name in enumerate(values._fields):
        estimate = jackknife_estimate(values[i], [part[i] for part in left_out])
        yield name, estimate if name == "density" else _with_least_error(estimate, n)


def _with_least_error(share: Estimate, n: int) -> Estimate:
    """Return a share with at least the error of n independent outcomes: 0 of n is not exact."""
    outcomes = np.arange(n) < round(share.value * n)
    error = float(np.fmax(share.error, estimate_proportion(outcomes).error))
    return dataclasses.replace(share, error=error)


class PRDC(NamedTuple):
    """The four metrics."""

    precision: float
    recall: float
    density: float
    coverage: float


class Balls(NamedTuple):
    """Which images lie in which balls, `[real, generated]`."""

    of_real: Bool[np.ndarray, "real generated"]  # the real image's ball has the generated one
    of_generated: Bool[np.ndarray, "real generated"]  # the generated image's has the real one


def find_balls(real: Features, generated: Features, k: int) -> Balls:
    """Compare the distances between the sets with those to the k-th neighbours."""
    distances = pairwise_sq_distances(real, generated)
    return Balls(
        distances < _sq_radius(real, k)[:, None],
        distances < _sq_radius(generated, k)[None],
    )


def prdc(balls: Balls, k: int) -> PRDC:
    """Return the four metrics."""
    return PRDC(
        float(balls.of_real.any(0).mean()),
        float(balls.of_generated.any(1).mean()),
        float(balls.of_real.sum(0).mean() / k),
        float(balls.of_real.any(1).mean()),
    )


def leave_out_prdc(balls: Balls, k: int, real_blocks: Blocks, blocks: Blocks) -> list[PRDC]:
    """Return the metrics without one block of both sets after the other, in balls of all images."""
    real_around = _counts_by_block(balls.of_real, real_blocks)
    generated_around = _counts_by_block(balls.of_real.T, blocks)
    covering = _counts_by_block(balls.of_generated.T, blocks)
    parts = []
    for block in range(len(covering)):
        real, generated = real_blocks != block, blocks != block
        around = (real_around.sum(0) - real_around[block])[generated]
        parts.append(
            PRDC(
                float((around > 0).mean()),
                float(((covering.sum(0) - covering[block])[real] > 0).mean()),
                float(around.mean() / k * len(real) / max(1, real.sum())),
                float(((generated_around.sum(0) - generated_around[block])[real] > 0).mean()),
            )
        )
    return parts


def _counts_by_block(
    is_in: Bool[np.ndarray, "n m"], blocks: Blocks
) -> Float32[np.ndarray, "blocks m"]:
    members = np.eye(int(blocks.max()) + 1, dtype=np.float32)[blocks]
    return members.T @ is_in.astype(np.float32)


def pairwise_sq_distances(a: Features, b: Features) -> Float64[np.ndarray, "a b"]:
    """Return the squared distance of each row of `a` to each row of `b`, in float64."""
    center = b.mean(0, dtype=np.float64)
    a, b = a - center, b - center
    distances = np.square(a).sum(1)[:, None] + np.square(b).sum(1) - 2 * a @ b.T
    return np.maximum(distances, 0)


def _sq_radius(features: Features, k: int) -> Float64[np.ndarray, " n"]:
    """Squared distance of each row to its k-th nearest other row."""
    distances = pairwise_sq_distances(features, features)
    np.fill_diagonal(distances, np.inf)
    return np.partition(distances, k - 1, axis=1)[:, k - 1]
