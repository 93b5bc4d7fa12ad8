"""The VampPrior (Tomczak & Welling 2018, eq. 9): the mixture of the posteriors of learned images.

    p(z) = 1/K sum_k q(z|u_k)

The u_k (pseudo-inputs) start as training images. Where the images' z are, there is a component.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pinxit.data.batch import DatasetInfo
from pinxit.models.vae.priors import (
    FlowPrior,
    StandardPrior,
    kl_at_sample,
    log_standard_normal,
)
from pinxit.models.vae.von_mises_fisher import SpherePrior

NUM_BISECTIONS = 60  # halvings of the interval in which a latent is searched
MAX_QUANTILE = 1 - 1e-15
CHUNK_VALUES = 2**24  # of latents x components that are computed at once

Z = Float[Tensor, "batch latent"]
PerComponent = Float[Tensor, "component latent"]


class Components(NamedTuple):
    """Means and log-variances of the mixture's Gaussians, all of one weight."""

    mean: PerComponent
    logvar: PerComponent


class VampPrior(nn.Module):
    """The mixture, and the triangular map that makes it of N(0, I).

    `encode` gives mean and log-variance of q(z|u). The map is that of Rosenblatt (1952): latent d
    is the quantile, in p(z_d | z_1 .. z_d-1), of noise d. It is invertible, and so log p(z) has a
    part per latent: log p(z_d | z_1 .. z_d-1).
    """

    starts: Tensor

    def __init__(
        self, num_inputs: int, shape: tuple[int, ...], encode: Callable[[Tensor], tuple[Z, Z]]
    ) -> None:
        super().__init__()
        self.encode = encode
        self.register_buffer("starts", torch.full((num_inputs, *shape), 0.5))
        self.offsets = nn.Parameter(0.01 * torch.randn(num_inputs, *shape))
        self._cached: tuple[object, Components] | None = None

    @property
    def pseudo_inputs(self) -> Float[Tensor, "component channel height width"]:
        """The learned images, as the likelihood observes images: from 0 to 1."""
        return (self.starts + self.offsets).clamp(0, 1)

    def components(self) -> Components:
        """Return the posteriors of the pseudo-inputs; without gradients computed once."""
        if torch.is_grad_enabled():
            return Components(*self.encode(self.pseudo_inputs))
        key = (self.training, *((id(p), p._version, p.device) for p in self.sources()))
        cached = self._cached
        if cached is None or cached[0] != key:
            cached = (key, Components(*self.encode(self.pseudo_inputs)))
            self._cached = cached
        return cached[1]

    def sources(self) -> list[Tensor]:
        """The tensors that the components are computed from."""
        return [self.starts, self.offsets, *self.encoder_tensors()]

    def encoder_tensors(self) -> list[Tensor]:
        owner = getattr(self.encode, "__self__", None)
        return list(owner.encoder.parameters()) if owner is not None else []

    def log_prob_per_latent(self, z: Z) -> Z:
        """log p(z_d | z_1 .. z_d-1), elementwise."""
        components = self.components()
        rows = max(1, CHUNK_VALUES // components.mean.numel())
        return torch.cat([_conditional_log_prob(part, components) for part in z.split(rows)])

    def log_prob(self, z: Z) -> Float[Tensor, " batch"]:
        """log p(z) in nats."""
        components = self.components()
        rows = max(1, CHUNK_VALUES // components.mean.numel())
        parts = [_log_densities(part, components).sum(-1).logsumexp(1) for part in z.split(rows)]
        return torch.cat(parts) - math.log(len(components.mean))

    def kl(self, mean: Z, logvar: Z, z: Z) -> Z:
        """log q(z) - log p(z) at the sample z: an unbiased estimate, per latent."""
        return kl_at_sample(logvar, self.log_prob_per_latent(z))

    @torch.no_grad()
    def transform(self, noise: Z) -> Z:
        """Map standard normal noise to a sample of the prior."""
        mean, std = self._double_components()
        quantiles = torch.special.ndtr(noise.double()).clamp(1 - MAX_QUANTILE, MAX_QUANTILE)
        log_weights = noise.new_zeros(len(noise), len(mean), dtype=torch.float64)
        columns = []
        for d in range(noise.shape[1]):
            z = _quantile(quantiles[:, d], log_weights.softmax(1), mean[:, d], std[:, d])
            columns.append(z)
            log_weights = log_weights + _log_normal(z[:, None], mean[:, d], std[:, d])
        return torch.stack(columns, 1).to(noise.dtype)

    @torch.no_grad()
    def inverse(self, z: Z) -> tuple[Z, Z]:
        """Return the noise that gives z, and log |du/dz| per latent."""
        mean, std = self._double_components()
        log_weights = z.new_zeros(len(z), len(mean), dtype=torch.float64)
        columns = []
        for d in range(z.shape[1]):
            values = z[:, d, None].double()
            below = torch.special.ndtr((values - mean[:, d]) / std[:, d])
            quantile = (log_weights.softmax(1) * below).sum(1)
            columns.append(torch.special.ndtri(quantile.clamp(1 - MAX_QUANTILE, MAX_QUANTILE)))
            log_weights = log_weights + _log_normal(values, mean[:, d], std[:, d])
        noise = torch.stack(columns, 1).to(z.dtype)
        return noise, self.log_prob_per_latent(z) - log_standard_normal(noise)

    def _double_components(self) -> tuple[PerComponent, PerComponent]:
        mean, logvar = self.components()
        return mean.double(), (0.5 * logvar.double()).exp()


def _log_densities(z: Z, components: Components) -> Float[Tensor, "batch component latent"]:
    mean, logvar = components
    return log_standard_normal((z[:, None] - mean) * (-0.5 * logvar).exp()) - 0.5 * logvar


def _conditional_log_prob(z: Z, components: Components) -> Z:
    """The log-mixture of the first d latents less that of the first d - 1."""
    so_far = _log_densities(z, components).cumsum(-1).logsumexp(1)
    so_far = so_far - math.log(len(components.mean))
    return torch.cat([so_far[:, :1], so_far.diff(dim=1)], 1)


def _log_normal(z: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    return -0.5 * ((z - mean) / std).square() - std.log()


def _quantile(
    quantile: Float[Tensor, " batch"],
    weights: Float[Tensor, "batch component"],
    mean: Float[Tensor, " component"],
    std: Float[Tensor, " component"],
) -> Float[Tensor, " batch"]:
    """Return the quantile of each row's mixture in one dimension, by bisection."""
    low = (mean - 10 * std).min().expand_as(quantile)
    high = (mean + 10 * std).max().expand_as(quantile)
    for _ in range(NUM_BISECTIONS):
        middle = (low + high) / 2
        below = torch.special.ndtr((middle[:, None] - mean) / std)
        is_low = (weights * below).sum(1) < quantile
        low, high = torch.where(is_low, middle, low), torch.where(is_low, high, middle)
    return (low + high) / 2


Prior = StandardPrior | FlowPrior | VampPrior | SpherePrior


def build_prior(
    config: Any,
    info: DatasetInfo,
    latent_dim: int,
    encode: Callable[[Tensor], tuple[Z, Z]],
) -> Prior:
    """Return the prior of a resolved configuration; `encode`: see `VampPrior`."""
    if config.prior == "vamp":
        shape = (info.channels, info.height, info.width)
        return VampPrior(config.pseudo_inputs, shape, encode)
    if config.prior == "flow":
        return FlowPrior(latent_dim)
    return SpherePrior(latent_dim) if config.posterior == "vmf" else StandardPrior()
