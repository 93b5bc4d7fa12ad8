"""The distribution that the importance samples of an image are drawn from."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from pinxit.models.vae.priors import log_standard_normal
from pinxit.models.vae.vamp_prior import Prior

WIDE_SCALE = 2.0  # standard deviations of the wide component, relative to those of q

Mean = Float[Tensor, "*batch latent"]
Noise = Float[Tensor, "*batch samples latent"]
PerSample = Float[Tensor, "*batch samples"]


class Proposed(NamedTuple):
    """Samples z, their log-density under the proposal and under the prior."""

    z: Noise
    log_proposal: PerSample
    log_prior: PerSample


def propose(
    mean: Mean,
    logvar: Mean,
    noise: Noise,
    prior: Prior,
    uniforms: PerSample | None = None,
    defensive_share: float = 0.0,
) -> Proposed:
    """Turn standard normal noise into samples of q(z|x) = N(mean, exp logvar) or of the mixture

        (1 - a) q(z|x) + a/2 N(mean, 4 exp logvar) + a/2 p(z),  a = `defensive_share`.

    (Hesterberg 1995, "Weighted average importance sampling and defensive mixture distributions".)
    The weights p(x, z) / mixture are never above 1 / (1 - a) times those of q, and bounded by
    2 p(x|z) / a: modes of p(z|x) that q misses are found with finite variance. `uniforms` choose
    the component of each sample.
    """
    mean, logvar = mean.unsqueeze(-2), logvar.unsqueeze(-2)
    std = (0.5 * logvar).exp()
    if defensive_share == 0:
        z = mean + std * noise
        return Proposed(z, _log_normal(noise, logvar), _log_prior(prior, z))
    assert uniforms is not None, "needed to choose the component"
    from_prior = uniforms < defensive_share / 2
    is_wide = uniforms < defensive_share
    standardized = torch.where(is_wide[..., None], WIDE_SCALE * noise, noise)
    z = mean + std * standardized
    z[from_prior] = prior.transform(noise[from_prior])
    standardized = torch.where(from_prior[..., None], (z - mean) / std, standardized)
    log_prior = _log_prior(prior, z)
    log_wide = _log_normal(standardized / WIDE_SCALE, logvar + 2 * math.log(WIDE_SCALE))
    half = math.log(defensive_share / 2)
    densities = [
        math.log1p(-defensive_share) + _log_normal(standardized, logvar),
        half + log_wide,
        half + log_prior,
    ]
    return Proposed(z, torch.stack(densities).logsumexp(0), log_prior)


def _log_prior(prior: Prior, z: Noise) -> PerSample:
    """log p(z), of samples as one batch: the rounding of a matrix product depends on its shape."""
    return prior.log_prob(z.flatten(0, -2)).unflatten(0, z.shape[:-1])


def _log_normal(standardized: Noise, logvar: Noise) -> PerSample:
    """log N(z; mean, exp logvar) at z = mean + std * standardized."""
    return (log_standard_normal(standardized) - 0.5 * logvar).sum(-1)
