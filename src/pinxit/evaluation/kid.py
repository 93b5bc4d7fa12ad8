"""Kernel distance between two sets of images in a feature space (KID; Binkowski 2018).

The squared maximum mean discrepancy by a polynomial kernel. The estimate is unbiased: 0 on average
for two samples of one distribution, however few there are. It can be negative.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Float64

from pinxit.evaluation.estimates import Estimate, Groups
from pinxit.evaluation.jackknife import Blocks, assign_blocks, jackknife_estimate

Features = Float[np.ndarray, "n features"]

KERNEL_ROWS = 1_000  # rows of the kernel matrix in memory at once


@dataclass(frozen=True)
class _Side:
    """Scaled features, sorted by block."""

    rows: Float32[np.ndarray, "n features"]
    counts: np.ndarray  # of rows, by block

    @classmethod
    def sort(cls, rows: Features, blocks: Blocks, num_blocks: int) -> _Side:
        order = np.argsort(blocks, kind="stable")
        return cls(rows[order].astype(np.float32), np.bincount(blocks, minlength=num_blocks))

    @property
    def memberships(self) -> Float32[np.ndarray, "n blocks"]:
        """Which block each row is in, as 0 and 1."""
        return np.repeat(np.eye(len(self.counts), dtype=np.float32), self.counts, 0)


def kid_estimate(generated: Features, real: Features, groups: Groups | None = None) -> Estimate:
    """Return the mean of k(x, x') + k(y, y') - 2 k(x, y), over pairs of different images.

    k(x, y) = (x . y / d + 1)^3, of features centred and scaled by those of the real images. The
    error is by the jackknife over both sets. NaN for fewer than two images on a side.
    """
    center, scale = real.mean(0), float(real.std()) or 1.0
    blocks = assign_blocks(len(real), groups)
    num_blocks = int(blocks.max()) + 1
    y = _Side.sort((real - center) / scale, blocks, num_blocks)
    blocks = assign_blocks(len(generated), None, num_blocks, seed=1)
    x = _Side.sort((generated - center) / scale, blocks, num_blocks)
    sums = tuple(_kernel_sums(a, b) for a, b in ((x, x), (y, y), (x, y)))
    everything = np.arange(num_blocks)
    values = [_mmd(x, y, sums, everything != block) for block in range(-1, num_blocks)]
    return jackknife_estimate(values[0], [value for value in values[1:] if math.isfinite(value)])


def _kernel_sums(a: _Side, b: _Side) -> Float64[np.ndarray, "blocks blocks"]:
    """Sum of the kernel over the pairs of two blocks, without those of an image with itself."""
    sums = np.zeros((len(a.counts), len(b.counts)))
    members, columns = a.memberships, b.memberships
    for start in range(0, len(a.rows), KERNEL_ROWS):
        part = slice(start, start + KERNEL_ROWS)
        kernel = (a.rows[part] @ b.rows.T / a.rows.shape[1] + 1) ** 3
        if a is b:
            np.fill_diagonal(kernel[:, start:], 0)
        sums += members[part].T @ (kernel @ columns)
    return sums


def _mmd(x: _Side, y: _Side, sums: tuple[np.ndarray, ...], kept: np.ndarray) -> float:
    """The squared discrepancy by the images of the blocks that are kept."""
    n, m = int(x.counts[kept].sum()), int(y.counts[kept].sum())
    if min(n, m) < 2:
        return math.nan
    xx, yy, xy = (float(table[np.ix_(kept, kept)].sum()) for table in sums)
    return xx / (n * (n - 1)) + yy / (m * (m - 1)) - 2 * xy / (n * m)
