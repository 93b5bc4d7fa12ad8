"""Standard errors by the jackknife over blocks of images, for statistics of two sets of images.

A block is a random part of the images, or of their groups: leaving out one block after the other
shows how much the statistic depends on the images (Efron 1982; Shao & Wu 1989). It costs one
evaluation per block.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from jaxtyping import Int64

from pinxit.evaluation.estimates import Estimate, Groups

NUM_BLOCKS = 50  # the error is then known to about 10 %

Blocks = Int64[np.ndarray, " n"]


def random_rows(n: int, max_rows: int, seed: int = 0) -> Int64[np.ndarray, " rows"]:
    """Return at most `max_rows` random rows below `n`, sorted: a sample, in whatever order."""
    if n <= max_rows:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, max_rows, replace=False))


def assign_blocks(
    n: int, groups: Groups | None = None, num_blocks: int = NUM_BLOCKS, seed: int = 0
) -> Blocks:
    """Return the block of each of `n` rows: random, of equal size; groups are not divided."""
    index = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]
    count = int(index.max(initial=-1)) + 1
    return np.random.default_rng(seed).permutation(count)[index] % max(1, min(num_blocks, count))


def jackknife_estimate(value: float, left_out: Iterable[float]) -> Estimate:
    """Return `value` with the error that the values without one block after the other give.

    var = (B - 1) / B sum_b (value_b - mean)^2. NaN for fewer than two blocks.
    """
    values = np.fromiter(left_out, np.float64)
    if len(values) < 2:
        return Estimate(value, math.nan)
    variance = (len(values) - 1) * values.var()
    return Estimate(value, math.sqrt(variance))
