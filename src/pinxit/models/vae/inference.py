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

from pinxit.models.results import Elbo
from pinxit.models.vae.ladder_networks import Features, LadderEncoder
from pinxit.models.vae.posteriors import BatchPosterior, GaussianPosterior
from pinxit.models.vae.priors import log_standard_normal
from pinxit.models.vae.proposal import WIDE_SCALE

X = Float[Tensor, "batch channel height width"]
Labels = Int64[Tensor, " batch"] | None
Noise = Float[Tensor, "batch latent"]
Samples = Float[Tensor, "batch sample latent"]
Weights = Float[Tensor, "batch sample"]  # logarithms


class Drawn(NamedTuple):
    """One z of each image, KL(q || p) or its estimate there, and what z decodes to if known.

    Of a ladder `q` are the Gaussians that the levels of z were drawn from.
    """

    z: Noise
    rate: Noise
    q: BatchPosterior
    decoded: Tensor | None = None


class DrawnSamples(NamedTuple):
    """Several z of each image, log q(z|x), and what z decodes to if known.

    Of a ladder `q` are the Gaussians that the levels of the first z were drawn from.
    """

    z: Samples
    log_q: Weights
    q: BatchPosterior
    decoded: Tensor | None = None


class DrawnLadder(NamedTuple):
    """u, the mean and log-variance that it was drawn with, and what it decodes to."""

    u: Noise
    mean: Noise
    logvar: Noise
    decoded: Tensor


def draw(model: Any, x: X, labels: Labels, noise: Noise) -> Drawn:
    """Make z ~ q(z|x) of standard normal noise, one of each image (eq. 10)."""
    if isinstance(model.encoder, LadderEncoder):
        features = model.encoder.features(model.standardize(x), labels)
        u, mean, logvar, decoded = _draw_ladder(model, features, labels, noise)
        rate = model.prior.kl(mean, logvar, u)
        return Drawn(u, rate, GaussianPosterior(mean, logvar), decoded)
    q = model.q(x, labels)
    z, rate = q.draw(noise, model.prior)
    return Drawn(z, rate, q)


def draw_samples(model: Any, x: X, labels: Labels, noise: Samples) -> DrawnSamples:
    """Make several z of each image."""
    if isinstance(model.encoder, LadderEncoder):
        shape, count = noise.shape[:2], noise.shape[1]
        features = model.encoder.features(model.standardize(x), labels).repeat(count)
        drawn = _draw_ladder(model, features, _repeat(labels, count), noise.flatten(0, 1))
        u, mean, logvar, decoded = (part.unflatten(0, shape) for part in drawn)
        log_q = (log_standard_normal(noise) - 0.5 * logvar).sum(-1)
        return DrawnSamples(u, log_q, GaussianPosterior(mean[:, 0], logvar[:, 0]), decoded)
    q = model.q(x, labels)
    z, log_q = q.sample(noise)
    return DrawnSamples(z, log_q, q)


def _draw_ladder(
    model: Any, features: Features, labels: Labels, noise: Noise, given: Noise | None = None
) -> DrawnLadder:
    inferred = model.encoder.infer(features, labels, noise, given)
    decoded = model.shift_params(inferred.decoded)
    return DrawnLadder(inferred.u, inferred.mean, inferred.logvar, decoded)


def _repeat(labels: Labels, count: int) -> Labels:
    return None if labels is None else labels.repeat_interleave(count)


def point_terms(model: Any, x: X, labels: Labels) -> Elbo:
    """Return -log p(x|z) and |z|^2 / 2 at the mean z of q(z|x), without its spread."""
    mean = model.q(x, labels).mean
    log_p_x = model.likelihood.log_prob(model.decode_params(mean, labels), x)
    return Elbo(-log_p_x, 0.5 * mean.square())


def log_weights(
    model: Any,
    x: X,
    labels: Labels,
    noise: Samples,
    uniforms: Weights | None = None,
    defensive_share: float = 0.0,
) -> Weights:
    """log p(x, z) - log q(z|x), q being the mixture of `propose` with a `defensive_share`."""
    log_p_x, log_p_z, log_q = log_terms(model, x, labels, noise, uniforms, defensive_share)
    return log_p_x + log_p_z - log_q


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
    q = model.q(x, labels)
    z, log_q, log_p_z = q.propose(noise, model.prior, uniforms, defensive_share)
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
        u = _draw_ladder(model, features, repeated, wide).u
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
