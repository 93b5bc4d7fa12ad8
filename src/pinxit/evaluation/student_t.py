"""Quantiles of Student's t distribution."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

NUM_NODES = 80  # of the quadrature
NUM_BISECTIONS = 60


def t_interval(level: float, degrees: float) -> float:
    """Return t with P(-t < T < t) = `level`, for at least 1 degree of freedom.

    The probability is an integral of cos^(degrees - 1) from 0 to atan(t / sqrt(degrees))
    (Abramowitz & Stegun 1964, 26.7.3 and 26.7.4, for any number of degrees), by Gauss-Legendre
    quadrature. Infinite degrees give the normal distribution.
    """
    if math.isinf(degrees) or degrees > 1e7:
        return _bisect(lambda t: math.erf(t / math.sqrt(2)), level, 40.0)
    nodes, weights = np.polynomial.legendre.leggauss(NUM_NODES)
    log_scale = math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2)
    scale = 2 * math.exp(log_scale) / math.sqrt(math.pi)

    def probability(angle: float) -> float:
        angles = angle * (nodes + 1) / 2
        powers = np.exp((degrees - 1) * np.log(np.cos(angles)))
        return scale * angle / 2 * float(weights @ powers)

    # beyond 40 standard deviations there is nothing to integrate
    largest = min(math.pi / 2, math.atan(40 / math.sqrt(degrees)) if degrees > 100 else math.inf)
    return math.sqrt(degrees) * math.tan(_bisect(probability, level, largest))


def _bisect(function: Callable[[float], float], value: float, high: float) -> float:
    """Return where an increasing function of 0 to `high` has the value."""
    low = 0.0
    for _ in range(NUM_BISECTIONS):
        middle = (low + high) / 2
        if function(middle) < value:
            low = middle
        else:
            high = middle
    return (low + high) / 2
