"""The training loss of a VAE: minus the ELBO, or the importance-weighted bound, and options."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from pinxit.data.batch import Batch
from pinxit.models.results import Loss
from pinxit.models.vae.equivariance import list_transforms, sample_transform
from pinxit.nn.batch_share import batch_randn, count_first
from pinxit.nn.layers import drop_labels

X = Float[Tensor, "batch channel height width"]
FlatOrGrid = Float[Tensor, "batch *latent"]
PerImage = Float[Tensor, " batch"]
Labels = Int64[Tensor, " batch"] | None


def training_loss(model: Any, batch: Batch, progress: float) -> Loss:
    """-ELBO with the KL weighted by beta: summed over dimensions, averaged over the batch.

    With `iw_samples` above 1 it is the importance-weighted bound, once `progress` reaches
    `iw_from`.
    """
    config = model.config
    x = model.observe(batch)
    labels = drop_labels(model.visible(batch.labels), config.label_dropout, model.training)
    beta = _kl_weight(model, progress)
    if config.iw_samples > 1 and progress >= config.iw_from:
        return _importance_weighted_loss(model, x, labels, beta)
    mean, logvar = model.posterior(x, labels)
    z = mean + (0.5 * logvar).exp() * batch_randn(*mean.shape, device=mean.device)
    distortion, l1 = _distortion(model, z, x, labels)
    rate = model.prior.kl(mean, logvar, z)
    total = distortion.mean() + beta * _kl_with_free_bits(rate, config.free_bits)
    total = total + config.l1_weight * l1.mean()
    return Loss(total, _parts(model, distortion.mean(), rate.sum(1).mean()))


def _distortion(
    model: Any, z: Float[Tensor, "batch latent"], x: X, labels: Labels
) -> tuple[PerImage, PerImage]:
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
        parts.append(_errors(model, grid, target, _take(labels, first), weight))
    if moved < len(x):
        parts.append(_errors(model, z[rest], x[rest], _take(labels, rest)))
    distortion, l1 = (torch.cat(column) for column in zip(*parts, strict=True))
    return distortion, l1


def _take(labels: Labels, rows: slice) -> Labels:
    return None if labels is None else labels[rows]


def _errors(
    model: Any, z: FlatOrGrid, x: X, labels: Labels, weight: float = 1.0
) -> tuple[PerImage, PerImage]:
    params = model.decode_params(z, labels)
    distortion = -weight * model.likelihood.log_prob(params, x)
    if not model.config.l1_weight:
        return distortion, torch.zeros_like(distortion)
    return distortion, weight * (params - x).abs().flatten(1).sum(1)


def _importance_weighted_loss(model: Any, x: X, labels: Labels, beta: float) -> Loss:
    num_samples = model.config.iw_samples
    noise = batch_randn(len(x), num_samples, model.latent_dim, device=x.device)
    log_p_x, log_p_z, log_q = model.log_terms(x, labels, noise)
    weights = log_p_x + beta * (log_p_z - log_q)
    bound = (weights.logsumexp(1) - math.log(num_samples)).mean()
    parts = _parts(model, -log_p_x.mean(), (log_q - log_p_z).mean())
    return Loss(-bound, {**parts, f"iw_{num_samples}": bound.detach()})


def _parts(model: Any, reconstruction: Tensor, kl: Tensor) -> dict[str, Tensor]:
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
    if free_bits == 0:
        return rate.sum(1).mean()
    return rate.mean(0).clamp(min=free_bits).sum()
