"""Importance-weighted estimates of log p(x) from log-weights, with their diagnostics.

The estimate rises to log p(x) with the number of samples k: on average it is a lower bound
(Burda 2015, theorem 1), and above log p(x) + b with a probability of at most exp(-b).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64
from torch import Tensor

MAX_PARETO_K = 0.7  # above it estimate and error cannot be relied on (Vehtari 2024, sec. 3.2)
MIN_TAIL = 5  # weights that a Pareto distribution is fitted to

LogWeights = Float[Tensor, "batch samples"]
PerImage = Float64[Tensor, " batch"]


class ImportanceEstimate(NamedTuple):
    """log p(x) of each image from k weights, in nats."""

    log_likelihood: PerImage  # log-mean-exp of all k weights
    half: PerImage  # of the first k/2: what is gained from there to k shows the bias
    quarter: PerImage  # of the first k/4
    std_error: PerImage  # Monte Carlo standard error of log_likelihood
    ess: PerImage  # effective sample size, (sum w)^2 / sum w^2
    pareto_k: PerImage  # of the largest weights: above 1/2 their variance is infinite


def estimate_from_weights(log_weights: LogWeights) -> ImportanceEstimate:
    """Estimate log p(x) of each image as the log-mean-exp of its log-weights, in float64.

    The error is that of the delta method,
    var(log mean w) ~ var(w) / (k (E w)^2) = (sum w^2 / (sum w)^2 - 1/k) k / (k - 1).
    """
    w = log_weights.double()
    k, log_sum = w.shape[1], w.logsumexp(1)
    inverse_ess = ((2 * w).logsumexp(1) - 2 * log_sum).exp()
    variance = (inverse_ess - 1 / k).clamp(min=0) * (k / max(1, k - 1))
    error = variance.sqrt() if k > 1 else torch.full_like(inverse_ess, math.nan)
    half, quarter = (log_mean_exp(w[:, : max(1, count)]) for count in (k // 2, k // 4))
    log_mean = log_sum - math.log(k)
    return ImportanceEstimate(log_mean, half, quarter, error, 1 / inverse_ess, pareto_k(w))


def log_mean_exp(w: Float[Tensor, "batch samples"]) -> Float[Tensor, " batch"]:
    """log (1/k sum exp w)."""
    return w.logsumexp(1) - math.log(w.shape[1])


def pareto_k(log_weights: LogWeights) -> PerImage:
    """Return the shape k of a generalized Pareto distribution fitted to the largest weights.

    The min(k / 5, 3 sqrt k) largest of k weights, less the largest of the others (Vehtari 2024,
    "Pareto smoothed importance sampling", sec. 3). The weights have about 1 / k finite moments:
    above 0.5 their variance is infinite. NaN for fewer than 25 weights, 0 for equal ones.
    """
    w = log_weights.double()
    count = w.shape[1]
    tail = math.ceil(min(count / 5, 3 * math.sqrt(count)))
    if tail < MIN_TAIL:
        return torch.full_like(w[:, 0], math.nan)
    largest = w.topk(tail + 1, dim=1).values.flip(1)  # ascending
    scaled = (largest - largest[:, -1:]).exp()
    shape = fit_generalized_pareto(scaled[:, 1:] - scaled[:, :1])
    return torch.where(scaled[:, 0] == 1, 0.0, shape)


def fit_generalized_pareto(excesses: Float64[Tensor, "batch n"]) -> PerImage:
    """Return the shape of generalized Pareto distributions of sorted excesses above 0.

    The posterior mean of Zhang & Stephens 2009, "A new and efficient estimation method for the
    generalized Pareto distribution", pulled towards 0.5 by a prior worth 10 values (Vehtari 2024,
    appendix G).
    """
    x, n = excesses, excesses.shape[1]
    num_candidates = 30 + int(math.sqrt(n))
    rank = torch.arange(1, num_candidates + 1, dtype=x.dtype, device=x.device)
    quartile = x[:, int(n / 4 + 0.5) - 1 : int(n / 4 + 0.5)].clamp(min=1e-300)
    theta = 1 / x[:, -1:] + (1 - (num_candidates / (rank - 0.5)).sqrt()) / (3 * quartile)
    shapes = torch.log1p(-theta[:, :, None] * x[:, None, :]).mean(2)
    log_likelihood = n * ((-theta / shapes).log() - shapes - 1)
    weights = torch.softmax(log_likelihood, 1)
    posterior_theta = (weights * theta).sum(1, keepdim=True)
    shape = torch.log1p(-posterior_theta * x).mean(1)
    return (n * shape + 10 * 0.5) / (n + 10)
