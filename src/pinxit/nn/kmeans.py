"""k-means clustering (Lloyd 1982), from centers chosen by k-means++ (Arthur 2007)."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

MAX_SEEDING_POINTS = 20_000  # a sample of the points, from which the first centers are chosen
MAX_ITERATIONS = 50
MIN_IMPROVEMENT = 1e-4  # relative decrease of the inertia, below which the iterations end
BATCH_SIZE = 8_192

Points = Float[Tensor, "n dim"]
Centers = Float[Tensor, "k dim"]


def kmeans(
    points: Points,
    num_clusters: int,
    seed: int,
    *,
    restarts: int = 1,
    max_iterations: int = MAX_ITERATIONS,
) -> Centers:
    """Return the centers of the clusters, of `restarts` runs those of smallest inertia.

    The inertia is the sum of the squared distances of the points to their nearest center. The same
    seed gives the same centers. Raises ValueError for more clusters than points.
    """
    if num_clusters > len(points):
        raise ValueError(f"{num_clusters} clusters of {len(points)} points")
    random = np.random.default_rng(seed)
    runs = [_run_lloyd(points, num_clusters, random, max_iterations) for _ in range(restarts)]
    return min(runs, key=lambda run: run[1])[0]


def _run_lloyd(
    points: Points, num_clusters: int, random: np.random.Generator, max_iterations: int
) -> tuple[Centers, float]:
    """Return centers, and the inertia of the assignment that they are the means of."""
    centers = _choose_centers(points, num_clusters, random)
    inertia = float("inf")
    for _ in range(max_iterations):
        nearest, squares = nearest_centers(points, centers)
        before, inertia = inertia, float(squares.double().sum())
        centers = _move_centers(points, nearest, squares, centers)
        if before - inertia <= MIN_IMPROVEMENT * before < float("inf"):
            break
    return centers, inertia


def nearest_centers(
    points: Points, centers: Centers
) -> tuple[Int64[Tensor, " n"], Float[Tensor, " n"]]:
    """Return the nearest center of each point, and the squared distance to it."""
    nearest, squares = [], []
    lengths = centers.square().sum(1)
    for batch in points.split(BATCH_SIZE):
        scores, indices = (lengths - 2 * batch @ centers.T).min(1)
        nearest.append(indices)
        squares.append((scores + batch.square().sum(1)).clamp(min=0))
    return torch.cat(nearest), torch.cat(squares)


def _move_centers(
    points: Points, nearest: Int64[Tensor, " n"], squares: Float[Tensor, " n"], centers: Centers
) -> Centers:
    """Return the mean of each cluster; an empty one moves to a point far from its center."""
    counts = torch.bincount(nearest, minlength=len(centers))
    sums = torch.zeros_like(centers).index_add_(0, nearest, points)
    moved = sums / counts.clamp(min=1)[:, None]
    empty = (counts == 0).nonzero().flatten()
    if len(empty):
        moved[empty] = points[squares.topk(len(empty)).indices]
    return moved


def _choose_centers(points: Points, num_clusters: int, random: np.random.Generator) -> Centers:
    """Choose points as centers by turns, each with a probability by its squared distance."""
    rows = random.permutation(len(points))[: max(MAX_SEEDING_POINTS, num_clusters)]
    sample = points[torch.from_numpy(np.sort(rows))]
    chosen = [int(random.integers(len(sample)))]
    squares = (sample - sample[chosen[0]]).square().sum(1)
    for _ in range(num_clusters - 1):
        cumulative = squares.double().cumsum(0)
        threshold = random.random() * float(cumulative[-1])
        index = int(torch.searchsorted(cumulative, threshold, right=True))
        chosen.append(min(index, len(sample) - 1))  # all are chosen: the rest are copies
        squares = torch.minimum(squares, (sample - sample[chosen[-1]]).square().sum(1))
    return sample[chosen].clone()
