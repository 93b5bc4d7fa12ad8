"""Draws z ~ q(z|x), and the terms of importance weights: of one Gaussian per image, or of a ladder.

In a ladder each level of q(z|x) depends on the z of the coarser ones, through the decoder's
features: drawing z decodes it on the way.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from pinxit.models.vae.ladder_networks import Features, LadderEncoder
from pinxit.models.vae.priors import log_standard_normal
from pinxit.models.vae.proposal import WIDE_SCALE, propose

X = Float[Tensor, "batch channel height width"]
Labels = Int64[Tensor, " batch"] | None
Noise = Float[Tensor, "batch latent"]
Samples = Float[Tensor, "batch sample latent"]
Weights = Float[Tensor, "batch sample"]  # logarithms


class Drawn(NamedTuple):
    """z, the mean and log-variance that it was drawn with, and what it decodes to if known."""

    z: Tensor
    mean: Tensor
    logvar: Tensor
    decoded: Tensor | None = None


def draw(model: Any, x: X, labels: Labels, noise: Noise) -> Drawn:
    """Make z ~ q(z|x) of standard normal noise, one of each image (eq. 10)."""
    if isinstance(model.encoder, LadderEncoder):
        features = model.encoder.features(model.standardize(x), labels)
        return _draw_ladder(model, features, labels, noise)
    mean, logvar = model.posterior(x, labels)
    return Drawn(mean + (0.5 * logvar).exp() * noise, mean, logvar)


def draw_samples(model: Any, x: X, labels: Labels, noise: Samples) -> Drawn:
    """Make several z of each image; mean and log-variance are those of all or of each."""
    if isinstance(model.encoder, LadderEncoder):
        count = noise.shape[1]
        features = model.encoder.features(model.standardize(x), labels).repeat(count)
        drawn = _draw_ladder(model, features, _repeat(labels, count), noise.flatten(0, 1))
        return Drawn(*(part.unflatten(0, noise.shape[:2]) for part in drawn if part is not None))
    mean, logvar = (part[:, None] for part in model.posterior(x, labels))
    return Drawn(mean + (0.5 * logvar).exp() * noise, mean, logvar)


def _draw_ladder(
    model: Any, features: Features, labels: Labels, noise: Noise, given: Noise | None = None
) -> Drawn:
    inferred = model.encoder.infer(features, labels, noise, given)
    return Drawn(*inferred[:3], model.shift_params(inferred.decoded))


def _repeat(labels: Labels, count: int) -> Labels:
    return None if labels is None else labels.repeat_interleave(count)


def log_terms(
    model: Any,
    x: X,
    labels: Labels,
    noise: Samples,
    uniforms: Weights | None = None,
    defensive_share: float = 0.0,
) -> tuple[Weights, Weights, Weights]:
    """log p(x|z), log p(z), and log q(z|x) or that of the mixture of `propose`."""
    if isinstance(model.encoder, LadderEncoder):
        return _ladder_log_terms(model, x, labels, noise, uniforms, defensive_share)
    mean, logvar = model.posterior(x, labels)
    z, log_q, log_p_z = propose(mean, logvar, noise, model.prior, uniforms, defensive_share)
    params = model.decode_params(z.flatten(0, 1), _repeat(labels, noise.shape[1]))
    params = params.unflatten(0, noise.shape[:2])
    return model.likelihood.log_prob(params, x[:, None]), log_p_z, log_q


def _ladder_log_terms(
    model: Any,
    x: X,
    labels: Labels,
    noise: Samples,
    uniforms: Weights | None,
    defensive_share: float,
) -> tuple[Weights, Weights, Weights]:
    """Draw level by level; of the mixture, a second pass gives the density of q at the samples."""
    shape, count = noise.shape[:2], noise.shape[1]
    repeated = _repeat(labels, count)
    features = model.encoder.features(model.standardize(x), labels).repeat(count)
    flat = noise.flatten(0, 1)
    if defensive_share == 0:
        u, _, logvar, params = _draw_ladder(model, features, repeated, flat)
        log_q = (log_standard_normal(flat) - 0.5 * logvar).sum(1)
    else:
        assert uniforms is not None, "needed to choose the component"
        chosen = uniforms.flatten()[:, None]
        wide = torch.where(chosen < defensive_share, WIDE_SCALE * flat, flat)
        u = _draw_ladder(model, features, repeated, wide).z
        u = torch.where(chosen < defensive_share / 2, flat, u)
        _, mean, logvar, params = _draw_ladder(model, features, repeated, flat, u)
        log_q = _log_mixture(u, mean, logvar, defensive_share)
    assert params is not None
    log_p_x = model.likelihood.log_prob(params.unflatten(0, shape), x[:, None])
    return log_p_x, log_standard_normal(u).sum(1).unflatten(0, shape), log_q.unflatten(0, shape)


def _log_mixture(u: Noise, mean: Noise, logvar: Noise, share: float) -> Float[Tensor, " batch"]:
    """log of (1 - a) q + a/2 wide q + a/2 N(0, I): each level of the wide q has twice the sigma."""
    standardized = (u - mean) * (-0.5 * logvar).exp()
    wide = log_standard_normal(standardized / WIDE_SCALE) - math.log(WIDE_SCALE)
    densities = [
        math.log1p(-share) + (log_standard_normal(standardized) - 0.5 * logvar).sum(1),
        math.log(share / 2) + (wide - 0.5 * logvar).sum(1),
        math.log(share / 2) + log_standard_normal(u).sum(1),
    ]
    return torch.stack(densities).logsumexp(0)
