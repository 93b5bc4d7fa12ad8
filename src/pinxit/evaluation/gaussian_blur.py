"""Gaussian blur of single channels, with edges mirrored."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float64

TRUNCATE = 4.0  # standard deviations that the kernel reaches on each side


def gaussian_kernel(sigma: float, truncate: float = TRUNCATE) -> Float64[np.ndarray, " size"]:
    """Return the weights of a Gaussian of `sigma` pixels; their sum is 1."""
    radius = int(truncate * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    return weights / weights.sum()


def filter_separably(
    values: Float[np.ndarray, "n height width channel"], kernel: Float64[np.ndarray, " size"]
) -> Float[np.ndarray, "n height width channel"]:
    """Convolve rows and columns with a symmetric kernel; edges are mirrored (c b a | a b c)."""
    for axis in (1, 2):
        values = _filter_axis(values, kernel.astype(values.dtype), axis)
    return values


def _filter_axis(values: np.ndarray, kernel: np.ndarray, axis: int) -> np.ndarray:
    radius, size = len(kernel) // 2, values.shape[axis]
    mirrored = np.concatenate([np.arange(size), np.arange(size)[::-1]])
    rows = mirrored[np.arange(-radius, size + radius) % (2 * size)]
    padded = values.take(rows, axis)
    total = np.zeros_like(values)
    for i, weight in enumerate(kernel):
        total += weight * padded.take(np.arange(i, i + size), axis)
    return total
