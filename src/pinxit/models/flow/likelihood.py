"""A lower bound of log p(x): the VAE's ELBO with the flow as its prior.

    log p(x) >= E_q [log p(x|z) - log q(z|x) + log p(z)]

log p(z) is the density of the flow, by the change of variables of `density`. Of a flow on pixels it
is that of pixels to which uniform noise is added (Theis 2015, eq. 6), also a bound.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from pinxit.data.batch import Batch
from pinxit.models.flow.density import log_density
from pinxit.models.flow.path import Field
from pinxit.models.latent_codecs import LatentCodec, Latents, PixelCodec, Pixels

NUM_DENSITY_STEPS = 25  # of Heun's method: each takes two evaluations with their gradients

Bound = Float[Tensor, " batch"]


def log_likelihood_bound(
    codec: LatentCodec,
    field: Field,
    pixels: Pixels,
    noise: Latents,
    signs: Latents,
    seeds: list[int],
) -> Bound:
    """Return a single-sample estimate of the bound, in nats.

    `noise` draws z, or is added to pixels; `signs` of -1 and 1 estimate divergences; `seeds` are
    those of binarization or dequantization. The estimate is unbiased in all of them, but for the
    steps of the solver.
    """
    if isinstance(codec, PixelCodec):
        return _estimate_from_pixels(field, pixels, noise, signs)
    vae = codec.vae
    x = vae.observe(Batch(pixels), seeds)
    mean, logvar = vae.posterior(x)
    z = mean + (0.5 * logvar).exp() * noise.flatten(1)
    log_p_x = vae.likelihood.log_prob(vae.decode_params(z), x)
    log_q = -0.5 * (logvar + noise.flatten(1).square() + math.log(2 * math.pi)).sum(1)
    standardized = (z.unflatten(1, codec.shape) - codec.mean) / codec.std
    log_p_u, _ = log_density(field, standardized, signs, NUM_DENSITY_STEPS)
    positions = math.prod(codec.shape[1:])
    log_p_z = log_p_u - positions * codec.std.log().sum()
    return log_p_x + log_p_z - log_q


def _estimate_from_pixels(field: Field, pixels: Pixels, noise: Latents, signs: Latents) -> Bound:
    """log p(v) for v in [0, 256): values scaled to [-1, 1) have 128 times that density."""
    uniform = torch.special.ndtr(noise)
    values = (pixels.permute(0, 3, 1, 2) + uniform) / 128 - 1
    log_p, _ = log_density(field, values, signs, NUM_DENSITY_STEPS)
    return log_p - values[0].numel() * math.log(128)
