"""The two parts of KL(q(z) || p(z)) under a prior with independent latents (Chen 2018, eq. 2).

    KL(q(z) || p(z)) = KL(q(z) || prod_k q(z_k)) + sum_k KL(q(z_k) || p(z_k))
                       total correlation           dimension-wise KL

Together with ELBO surgery (Hoffman & Johnson 2016) the rate is I(x; z) + total correlation +
dimension-wise KL (arXiv 1802.04942). q(z) is the mixture of the posteriors of n images: its
marginals are known well from a few hundred images, so the second part is too. In many latents n
images do not cover q(z): I(x; z) is then at most log n, and the total correlation an upper bound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from pinxit.evaluation.elbo_surgery import compare_with_aggregate
from pinxit.evaluation.estimates import Estimate, Groups, estimate_mean
from pinxit.models.results import Posterior

MAX_TERMS = 2 * 10**8  # densities of one image's z_k under another's posterior
LOG_2PI = math.log(2 * math.pi)

PerImage = Float64[np.ndarray, " n"]


@dataclass(frozen=True)
class RateParts:
    """The parts of the rate, in nats per image: they add up to `rate`."""

    rate: Estimate
    information: Estimate  # I(x; z), at most log n
    total_correlation: Estimate
    dimension_wise: Estimate
    marginal_kl: Estimate  # KL(q(z) || p(z)), the sum of the last two
    images: int

    @property
    def is_bound(self) -> bool:
        """Whether I(x; z) is close to the most that the images can show."""
        return self.information.value > math.log(self.images) - 1


def count_images(num_latents: int, available: int) -> int:
    """Return how many images the estimate can take in seconds."""
    return max(2, min(available, math.isqrt(MAX_TERMS // max(1, num_latents))))


def split_rate(
    posterior: Posterior, noise: Float[Tensor, "n latent"], groups: Groups | None = None
) -> RateParts:
    """Split the rate of n images under p(z) = N(0, I), at z_i = mean_i + std_i * noise_i.

    The rate is the log-ratio at these z, whose mean is the KL. Errors include that other images
    would give another q(z): q(z) and its marginals enter by their influence (infinitesimal
    jackknife).
    """
    mean, std = (torch.from_numpy(np.array(part, np.float64)) for part in posterior.flatten())
    noise = noise.double()
    z = mean + std * noise
    own = (-0.5 * noise.square() - std.log() - 0.5 * LOG_2PI).sum(1)  # log q(z_i|x_i)
    prior = -0.5 * (z.square() + LOG_2PI).sum(1)
    rate = (own - prior).numpy()
    aggregate = compare_with_aggregate(posterior.flatten(), noise)
    information = aggregate.information - (aggregate.responsibility - 1)
    log_marginals, influence = marginal_log_densities(mean, std, z)
    dimension_wise = log_marginals.numpy() - prior.numpy() + influence.numpy()
    marginal = rate - information
    parts = (rate, information, marginal - dimension_wise, dimension_wise, marginal)
    return RateParts(*(estimate_mean(part, groups) for part in parts), images=len(mean))


def marginal_log_densities(
    mean: Float64[Tensor, "n latent"], std: Float64[Tensor, "n latent"], z: Float64[Tensor, "n d"]
) -> tuple[Float64[Tensor, " n"], Float64[Tensor, " n"]]:
    """Return sum_k log q(z_ik), and the influence of image i on it through the marginals q(z_k).

    The influence of an image is the sum over k of its mean responsibility, less one each: 0 on
    average.
    """
    n = len(mean)
    log_q, influence = torch.zeros(n, dtype=torch.float64), torch.zeros(n, dtype=torch.float64)
    for m, s, points in zip(mean.T.float(), std.T.float(), z.T.float(), strict=True):
        joint = -0.5 * ((points[:, None] - m) / s).square_() - s.log()
        log_sum = joint.logsumexp(1)
        log_q += (log_sum - math.log(n) - 0.5 * LOG_2PI).double()
        influence += (joint - log_sum[:, None]).exp_().sum(0).double() - 1
    return log_q, influence
