"""Bounds of log p(x) of several samples: IWAE, MIWAE, CIWAE and PIWAE, with either gradient.

Of M groups of K samples z ~ q(z|x), with weights w = p(x, z) / q(z|x):

    bound = (1 - s) 1/M sum_m log 1/K sum_k w_mk  +  s 1/MK sum_mk log w_mk

| M | s | is                                                   |
| - | - | ---------------------------------------------------- |
| 1 | 0 | IWAE (Burda 2015)                                    |
| M | 0 | MIWAE; K = 1: the ELBO, of M samples (Rainforth 2018)|
| 1 | s | CIWAE (Rainforth 2018)                               |

With `iw_decoder` joint the decoder learns from the first term of one group of all MK samples
(PIWAE). The gradient of the bound is sum_mk a_mk d log w_mk with a = softmax(log w) / M; that of
the encoder has, doubly reparameterized (Tucker 2018), softmax(log w)^2 / M in its place, with the
parameters of log q held and z moved.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from pinxit.models.vae.inference import draw_samples
from pinxit.models.vae.posteriors import BatchPosterior

X = Float[Tensor, "batch channel height width"]
Labels = Int64[Tensor, " batch"] | None
Samples = Float[Tensor, "batch sample latent"]
Weights = Float[Tensor, "batch sample"]

TINY = 1e-30  # below every coefficient that has an effect in fp32
# least coefficient of the model, relative to the encoder's: what it adds to the model's gradient is
# below the rounding of fp32, and the encoder's can be computed from the model's
MIN_RATIO = 1e-12


class MultisampleBound(NamedTuple):
    """The bound of each image, with its gradient, and what it is made of."""

    value: Float[Tensor, " batch"]
    z: Samples
    q: BatchPosterior
    log_p_x: Weights
    log_p_z: Weights
    log_q: Weights


def multisample_bound(
    model: Any, x: X, labels: Labels, noise: Samples, beta: float = 1.0
) -> MultisampleBound:
    """Return the bound of the model's options, with weights p(x|z) (p(z) / q(z|x))^beta."""
    is_doubly = model.config.iw_gradient == "doubly-reparameterized"
    z, log_q, q, decoded = draw_samples(model, x, labels, noise)
    if is_doubly:  # the density of a given z
        log_q = q.detach().log_prob(z)
    entering = z.view_as(z)  # as the decoder and the prior take it
    log_p_x, log_p_z = _log_joint(model, x, labels, entering, decoded)
    log_w = (log_p_x + beta * (log_p_z - log_q)).detach()
    value, of_model, of_encoder = _coefficients(model.config, log_w, beta)
    if entering.requires_grad and of_encoder is not of_model:
        # the encoder's gradient comes back through z, from the model's coefficients
        ratio = (of_encoder / of_model.clamp(min=TINY))[..., None]
        entering.register_hook(lambda gradient: gradient * ratio)
    joint = (of_model * (log_p_x + beta * log_p_z)).sum(1)
    surrogate = joint - beta * (of_encoder * log_q).sum(1)
    value = value + (surrogate - surrogate.detach())
    return MultisampleBound(value, z, q, log_p_x, log_p_z, log_q)


def _log_joint(
    model: Any, x: X, labels: Labels, z: Samples, params: Tensor | None
) -> tuple[Weights, Weights]:
    """log p(x|z) and log p(z); `params` of p(x|z) if they are known."""
    shape = z.shape[:2]
    if params is None:
        repeated = None if labels is None else labels.repeat_interleave(shape[1])
        params = model.decode_params(z.flatten(0, 1), repeated).unflatten(0, shape)
    log_p_z = model.prior.log_prob(z.flatten(0, 1)).unflatten(0, shape)
    return model.fit_log_prob(params, x[:, None]), log_p_z


def _coefficients(
    config: Any, log_w: Weights, beta: float
) -> tuple[Float[Tensor, " batch"], Weights, Weights]:
    """Return the bound, and the coefficients of the gradients of model and encoder.

    Of a weight share a the doubly-reparameterized one is a - beta (a - a^2): a^2 for beta 1 (Tucker
    2018, eq. 8), since d a / dz = (a - a^2) d log w / dz takes the place of beta d log q.
    """
    share, groups = config.iw_elbo_share, log_w.unflatten(1, (config.iw_groups, -1))
    num_groups, num_samples = groups.shape[1:]
    in_group = groups.softmax(2)
    of_groups = (in_group / num_groups).flatten(1)
    bound = groups.logsumexp(2).mean(1) - math.log(num_samples)
    of_model = of_groups
    if config.iw_decoder == "joint":
        of_model = log_w.softmax(1)
        bound = log_w.logsumexp(1) - math.log(log_w.shape[1])
    of_encoder = of_groups
    if config.iw_gradient == "doubly-reparameterized":
        doubly = (1 - beta) * in_group + beta * in_group.square()
        of_encoder = (doubly / num_groups).flatten(1)
    is_same = of_encoder is of_model
    if share:
        elbo = share / log_w.shape[1]
        bound = (1 - share) * bound + share * log_w.mean(1)
        of_model = (1 - share) * of_model + elbo
        of_encoder = of_model if is_same else (1 - share) * of_encoder + elbo
    if not is_same:  # joint: of all samples but the best those of the model are 0 in fp32
        of_model = torch.maximum(of_model, MIN_RATIO * of_encoder.abs())
    return bound, of_model, of_encoder
