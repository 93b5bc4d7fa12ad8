"""Penalties of the training loss: of the latents, of the decoder, and of what is decoded.

A penalty is a function of the model and of one z of each image; its weight is the option of the
same name. `PENALTIES` lists them: adding one is adding a function and an option.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from pinxit.models.vae.discriminators import frozen, shuffle_latents
from pinxit.models.vae.ms_ssim import ms_ssim
from pinxit.nn.batch_share import batch_randn

Z = Float[Tensor, "batch latent"]
X = Float[Tensor, "shown channel height width"]
Labels = Int64[Tensor, " batch"] | None

MMD_SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)  # of the kernel (Tolstikhin 2018, sec. 4)
OF_DECODED = ("ms_ssim", "perceptual", "adversarial")  # penalties of what is decoded
MAX_ADAPTIVE_WEIGHT = 1e6  # of the adversarial term (Esser 2021)


class Draw(NamedTuple):
    """One z of each image, and what of it was decoded."""

    z: Z
    labels: Labels
    shown: X  # the last images of the batch: those that no transform has moved
    decoded: Tensor | None  # their parameters of p(x|z), or None: not yet decoded
    mean: Z | None = None
    logvar: Z | None = None


class Term(NamedTuple):
    """What a penalty adds to the loss, and its value without weight."""

    loss: Tensor
    value: Tensor


def penalty_terms(model: Any, draw: Draw, progress: float) -> Iterator[tuple[str, Term]]:
    """Yield the name and the term of each penalty that has a weight."""
    config = model.config
    active = [name for name in PENALTIES if getattr(config, name)]
    if progress < config.adversarial_from:
        active = [name for name in active if name != "adversarial"]
    if not len(draw.shown):  # of a small batch, all images were transformed
        active = [name for name in active if name not in OF_DECODED]
    if set(OF_DECODED) & set(active) and draw.decoded is None:
        draw = draw._replace(decoded=model.decode_params(draw.z, draw.labels))
    for name in active:
        yield name, PENALTIES[name](model, draw)


def _weigh(model: Any, name: str, value: Tensor) -> Term:
    return Term(getattr(model.config, name) * value, value)


# -- latents --------------------------------------------------------------------------------------


def total_correlation_term(model: Any, draw: Draw) -> Term:
    """KL(q(z) || prod_k q(z_k)): from the batch, or by a discriminator that learns beside."""
    if model.config.tc_estimate == "minibatch":
        assert draw.mean is not None and draw.logvar is not None
        value = minibatch_total_correlation(
            draw.z, draw.mean, draw.logvar, max(model.info.num_images, len(draw.z))
        )
        return _weigh(model, "total_correlation", value)
    discriminator = model.discriminators["total_correlation"]
    value = frozen(discriminator, draw.z).mean()
    z = draw.z.detach()
    learns = (
        F.softplus(-discriminator(z)).mean() + F.softplus(discriminator(shuffle_latents(z))).mean()
    )
    return Term(model.config.total_correlation * value + learns, value)


def minibatch_total_correlation(z: Z, mean: Z, logvar: Z, num_images: int) -> Float[Tensor, ""]:
    """Estimate E [log q(z) - sum_k log q(z_k)], q(z) the mean of q(z|x) over N training images.

    Minibatch stratified sampling (Chen 2018, app. C.2): of M images in the batch the own one
    counts 1 / N, each other one (N - 1) / (N (M - 1)).
    """
    size = len(z)
    if size < 2:
        return z.sum() * 0
    log_weights = z.new_full((size, size), math.log((num_images - 1) / (num_images * (size - 1))))
    log_weights.fill_diagonal_(-math.log(num_images))
    standardized = (z[:, None] - mean) * (-0.5 * logvar).exp()
    log_q = -0.5 * (standardized.square() + logvar + math.log(2 * math.pi))  # [z, x, latent]
    joint = (log_q.sum(2) + log_weights).logsumexp(1)
    marginals = (log_q + log_weights[..., None]).logsumexp(1).sum(1)
    return (joint - marginals).mean()


def mmd_term(model: Any, draw: Draw) -> Term:
    """MMD^2 between the batch's z and as many samples of the prior."""
    noise = batch_randn(*draw.z.shape, device=draw.z.device)
    return _weigh(model, "mmd", mmd_estimate(draw.z, model.prior.transform(noise)))


def mmd_estimate(z: Z, prior: Z) -> Float[Tensor, ""]:
    """Unbiased MMD^2 (Gretton 2012, eq. 3) with inverse multiquadratic kernels.

    k(a, b) = sum_s C / (C + |a - b|^2), C = 2 d s: the mean square distance of two samples of
    N(0, I), times the scales of Tolstikhin 2018.
    """
    size = len(z)
    if size < 2:
        return z.sum() * 0

    def kernel(a: Z, b: Z) -> Float[Tensor, "a b"]:
        squares = (a[:, None] - b).square().sum(2)
        constants = [2 * z.shape[1] * scale for scale in MMD_SCALES]
        return torch.stack([c / (c + squares) for c in constants]).sum(0)

    of_z, of_prior = kernel(z, z), kernel(prior, prior)
    pairs = size * (size - 1)
    within = (of_z.sum() - of_z.trace() + of_prior.sum() - of_prior.trace()) / pairs
    return within - 2 * kernel(z, prior).mean()


def latent_adversarial_term(model: Any, draw: Draw) -> Term:
    """-log D(z): z is to pass for a sample of the prior (Makhzani 2015)."""
    discriminator = model.discriminators["latent_adversarial"]
    value = F.softplus(-frozen(discriminator, draw.z)).mean()
    noise = batch_randn(*draw.z.shape, device=draw.z.device)
    prior = model.prior.transform(noise).detach()
    learns = (
        F.softplus(-discriminator(prior)).mean() + F.softplus(discriminator(draw.z.detach())).mean()
    )
    return Term(model.config.latent_adversarial * value + learns, value)


# -- decoder --------------------------------------------------------------------------------------


def decoder_l2_term(model: Any, draw: Draw) -> Term:
    """The sum of the decoder's squared weights."""
    squares = [parameter.square().sum() for parameter in model.decoder.parameters()]
    return _weigh(model, "decoder_l2", torch.stack(squares).sum())


def gradient_penalty_term(model: Any, draw: Draw) -> Term:
    """|J|^2 of the decoded mean's derivative J in z, by one direction v: E |J^T v|^2 = |J|^2.

    (Hutchinson 1990.) The gradient of the sum of all values, |J^T 1|^2, would count derivatives
    of different pixels against one another.
    """
    with torch.enable_grad():
        z = draw.z + 0 if draw.z.requires_grad else draw.z.detach().requires_grad_()
        mean = model.likelihood.mean(model.decode_params(z, draw.labels))
        direction = batch_randn(*mean.shape, device=mean.device)
        (gradient,) = torch.autograd.grad((mean * direction).sum(), z, create_graph=True)
    return _weigh(model, "gradient_penalty", gradient.square().sum(1).mean())


# -- what is decoded ------------------------------------------------------------------------------


def ms_ssim_term(model: Any, draw: Draw) -> Term:
    """1 - MS-SSIM of images and decoded means, times the number of values of an image."""
    assert draw.decoded is not None
    likelihood = model.likelihood
    decoded, images = likelihood.mean(draw.decoded), _as_pixels(model, draw.shown)
    value = 1 - ms_ssim(decoded, images).mean()
    return Term(model.config.ms_ssim * model.info.dims * value, value)


def perceptual_term(model: Any, draw: Draw) -> Term:
    """The distance of images and decoded means in features, times the values of an image."""
    assert draw.decoded is not None
    decoded = model.likelihood.mean(draw.decoded)
    value = model.perceptual(decoded, _as_pixels(model, draw.shown)).mean()
    return Term(model.config.perceptual * model.info.dims * value, value)


def adversarial_term(model: Any, draw: Draw) -> Term:
    """-D(decoded) on patches, and hinge losses for D (Esser 2021, eq. 5-7).

    The weight makes its gradient in the decoded parameters as large as that of the likelihood.
    """
    assert draw.decoded is not None
    likelihood, discriminator = model.likelihood, model.discriminators["adversarial"]
    decoded, images = likelihood.mean(draw.decoded), _as_pixels(model, draw.shown)
    value = -frozen(discriminator, decoded).mean()
    distortion = -likelihood.log_prob(draw.decoded, draw.shown).mean()
    weight = model.config.adversarial * _gradient_ratio(distortion, value, draw.decoded)
    learns = (
        F.relu(1 - discriminator(images)).mean()
        + F.relu(1 + discriminator(decoded.detach())).mean()
    )
    return Term(weight * value + learns, value)


def _gradient_ratio(numerator: Tensor, denominator: Tensor, inputs: Tensor) -> Tensor:
    norms = [
        torch.autograd.grad(value, inputs, retain_graph=True)[0].norm()
        for value in (numerator, denominator)
    ]
    return (norms[0] / (norms[1] + 1e-8)).clamp(0, MAX_ADAPTIVE_WEIGHT).detach()


def _as_pixels(model: Any, observed: X) -> X:
    """Return images as `likelihood.mean` returns decoded ones: from 0 to 1."""
    return model.likelihood.to_pixels(observed)


PENALTIES: dict[str, Callable[[Any, Draw], Term]] = {
    "total_correlation": total_correlation_term,
    "mmd": mmd_term,
    "latent_adversarial": latent_adversarial_term,
    "decoder_l2": decoder_l2_term,
    "gradient_penalty": gradient_penalty_term,
    "ms_ssim": ms_ssim_term,
    "perceptual": perceptual_term,
    "adversarial": adversarial_term,
}
