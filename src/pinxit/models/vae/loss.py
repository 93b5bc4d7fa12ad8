"""The training loss of a VAE: minus a bound of log p(x), and weighted penalties.

    loss = -bound + sum_i weight_i * penalty_i

The bound is the ELBO, or one of several samples (`multisample_bound`); likelihood and prior are
parts of the model. Penalties are in `penalties`. In evaluation mode the loss is
that of the bound alone, so that runs with other penalties compare.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from pinxit.data.batch import Batch
from pinxit.models.results import Loss
from pinxit.models.vae.equivariance import list_transforms, sample_transform
from pinxit.models.vae.inference import draw as draw_z
from pinxit.models.vae.multisample_bound import multisample_bound
from pinxit.models.vae.penalties import PENALTIES, Draw, penalty_terms
from pinxit.models.vae.posteriors import BatchPosterior, GaussianPosterior
from pinxit.nn.batch_share import batch_randn, count_first
from pinxit.nn.layers import drop_labels

X = Float[Tensor, "batch channel height width"]
FlatOrGrid = Float[Tensor, "batch *latent"]
PerImage = Float[Tensor, " batch"]
Labels = Int64[Tensor, " batch"] | None


class Bound(NamedTuple):
    """Minus the bound, its parts, and one z of each image with what it decodes to."""

    loss: Tensor
    plain_loss: Tensor  # without free bits: of a batch's mean, which validation has not
    parts: dict[str, Tensor]
    draw: Draw


def training_loss(model: Any, batch: Batch, progress: float) -> Loss:
    """Minus the bound, and penalties: summed over dimensions, averaged over the batch.

    With several samples it is the importance-weighted bound, once `progress` reaches `iw_from`.
    """
    config = model.config
    x = model.observe(batch)
    labels = drop_labels(model.visible(batch.labels), config.label_dropout, model.training)
    beta = _kl_weight(model, progress)
    if config.num_iw_samples > 1 and progress >= config.iw_from:
        bound = _importance_weighted_loss(model, x, labels, beta)
    else:
        bound = _elbo_loss(model, x, labels, beta)
    total, parts = bound.loss, bound.parts
    if model.training and any(getattr(config, name) for name in ("free_bits", *PENALTIES)):
        parts["unpenalized_loss"] = bound.plain_loss.detach()  # comparable with that of validation
        for name, term in penalty_terms(model, bound.draw, progress):
            total = total + term.loss
            parts[name] = term.value.detach()
    return Loss(total, parts)


# -- the bound of one sample ----------------------------------------------------------------------


def _elbo_loss(model: Any, x: X, labels: Labels, beta: float) -> Bound:
    """-log p(x|z) + beta KL, and the absolute error; or without a KL the square norm of z."""
    config = model.config
    noise = batch_randn(len(x), model.latent_dim, device=x.device)
    drawn = draw_z(model, x, labels, noise)
    z, rate = drawn.z, drawn.rate
    if model.has_point_posterior:
        z, rate = drawn.q.mean, 0.5 * drawn.q.mean.square()
    distortion, l1, draw = _distortion(model, z, x, labels, drawn.decoded)
    draw = _with_gaussian(draw, drawn.q)
    errors = distortion.mean() + config.l1_weight * l1.mean()
    total = plain = errors + beta * rate.sum(1).mean()
    if config.free_bits and model.training:
        total = errors + beta * _kl_with_free_bits(rate, config.free_bits)
    parts = _parts(model, distortion.mean(), rate.sum(1).mean())
    return Bound(total, plain, parts, draw)


def _distortion(
    model: Any,
    z: Float[Tensor, "batch latent"],
    x: X,
    labels: Labels,
    decoded: Tensor | None = None,
) -> tuple[PerImage, PerImage, Draw]:
    """-log p(x|z) and the absolute error of each image, summed over pixels.

    In training a share of the images is transformed, see `equivariance`.
    """
    moved = count_first(model.config.equivariance, len(x)) if model.training else 0
    first, rest = slice(moved), slice(moved, None)
    parts = []
    if moved:
        image = (model.info.height, model.info.width)
        transform = sample_transform(list_transforms(model.latent_shape, image))
        grid = transform.apply(z[first].unflatten(1, model.latent_shape))
        target, weight = transform.apply(x[first]), 1 / transform.area
        params = model.decode_params(grid, _take(labels, first))
        # evaluation is of images as they are: their errors alone are recorded, if there are any
        parts.append(_errors(model, params, target, weight, is_recorded=moved == len(x)))
    if moved < len(x):
        if decoded is None:
            decoded = model.decode_params(z[rest], _take(labels, rest))
        assert decoded is not None
        parts.append(_errors(model, decoded, x[rest]))
    distortion, l1 = (torch.cat(column) for column in zip(*parts, strict=True))
    return distortion, l1, Draw(z, labels, x[rest], decoded)


def _take(labels: Labels, rows: slice) -> Labels:
    return None if labels is None else labels[rows]


def _errors(
    model: Any, params: Tensor, x: X, weight: float = 1.0, *, is_recorded: bool = True
) -> tuple[PerImage, PerImage]:
    distortion = -weight * model.fit_log_prob(params, x, is_recorded=is_recorded)
    if not model.config.l1_weight:
        return distortion, torch.zeros_like(distortion)
    return distortion, weight * (params - x).abs().flatten(1).sum(1)


# -- the bound of several samples -----------------------------------------------------------------


def _importance_weighted_loss(model: Any, x: X, labels: Labels, beta: float) -> Bound:
    config = model.config
    noise = batch_randn(len(x), config.num_iw_samples, model.latent_dim, device=x.device)
    bound = multisample_bound(model, x, labels, noise, beta)
    parts = _parts(model, -bound.log_p_x.mean(), (bound.log_q - bound.log_p_z).mean())
    parts[f"iw_{config.iw_samples}"] = bound.value.mean().detach()
    draw = _with_gaussian(Draw(bound.z[:, 0], labels, x, None), bound.q)
    loss = -bound.value.mean()
    return Bound(loss, loss, parts, draw)


def _with_gaussian(draw: Draw, q: BatchPosterior) -> Draw:
    """Add the mean and log-variance of q(z|x), if it is a Gaussian."""
    if not isinstance(q, GaussianPosterior):
        return draw
    return draw._replace(mean=q.mean, logvar=q.logvar)


def _parts(model: Any, reconstruction: Tensor, kl: Tensor) -> dict[str, Tensor]:
    """The terms under their names; a point instead of q(z|x) has no ELBO."""
    if model.has_point_posterior:
        return {"reconstruction": reconstruction.detach(), "latent_norm": kl.detach()}
    parts = {"elbo": -(reconstruction + kl), "reconstruction": reconstruction, "kl": kl}
    if model.eight_bit:
        parts["bits_per_dim"] = (reconstruction + kl) / (model.info.dims * math.log(2))
    return {name: part.detach() for name, part in parts.items()}


def _kl_weight(model: Any, progress: float) -> float:
    """Return the KL's weight, which rises linearly from 0 to beta during the warm-up."""
    beta, warmup = model.config.beta, model.config.kl_warmup
    return beta * progress / warmup if model.training and progress < warmup else beta


def _kl_with_free_bits(rate: Float[Tensor, "batch latent"], free_bits: float) -> Float[Tensor, ""]:
    """Return the KL, with each latent's batch mean at least `free_bits` (Kingma 2016)."""
    return rate.mean(0).clamp(min=free_bits).sum()
