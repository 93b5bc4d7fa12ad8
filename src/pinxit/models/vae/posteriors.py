"""q(z|x): a Gaussian, a point, an inverse autoregressive flow, or von Mises-Fisher on the sphere.

A family makes the posteriors of a batch from what the encoder says. All that takes q(z|x) does so
by the methods of `BatchPosterior`: samples with their log-density, the KL where it has a closed
form and else its estimate at a sample, and the point that a reconstruction decodes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from pinxit.models.results import LatentPosterior, Posterior
from pinxit.models.vae.autoregressive_flow import AutoregressiveFlow
from pinxit.models.vae.encoded_posteriors import FlowPosterior, SpherePosterior
from pinxit.models.vae.priors import kl_at_sample, log_standard_normal
from pinxit.models.vae.proposal import Proposed, propose
from pinxit.models.vae.von_mises_fisher import MAX_KAPPA, MIN_KAPPA, VonMisesFisher

POINT_LOGVAR = 2 * math.log(0.1)  # with which likelihoods take a deterministic posterior
GRID_OR_VECTOR = ("gaussian", "deterministic")  # posteriors of any latents; others: of a vector
DEFAULT_IAF_STEPS = 2
CONTEXT_PER_LATENT = 2  # values that the encoder gives the flow

Z = Float[Tensor, "batch latent"]
Samples = Float[Tensor, "batch sample latent"]
Weights = Float[Tensor, "batch sample"]
Outputs = Float[Tensor, "batch outputs"]  # of the encoder


class BatchPosterior(Protocol):
    """q(z|x) of a batch of images. Noise is standard normal."""

    @property
    def mean(self) -> Z:
        """The point that a reconstruction decodes."""
        ...

    def sample(self, noise: Samples) -> tuple[Samples, Weights]:
        """Return samples, differentiable in the encoder's outputs, and log q(z|x) of each."""
        ...

    def log_prob(self, z: Samples) -> Weights:
        """log q(z|x) of given z."""
        ...

    def draw(self, noise: Z, prior: Any) -> tuple[Z, Z]:
        """Return one z of each image, and KL(q || prior) or its estimate there, per latent."""
        ...

    def propose(
        self, noise: Samples, prior: Any, uniforms: Weights | None, defensive_share: float
    ) -> Proposed:
        """Return importance samples; see `proposal.propose`."""
        ...

    def detach(self) -> BatchPosterior:
        """Return the posterior whose parameters are held."""
        ...


@dataclass(frozen=True)
class GaussianPosterior:
    """N(mean, exp logvar), diagonal."""

    mean: Z
    logvar: Z

    def sample(self, noise: Samples) -> tuple[Samples, Weights]:
        z = self.mean[:, None] + (0.5 * self.logvar).exp()[:, None] * noise
        return z, (log_standard_normal(noise) - 0.5 * self.logvar[:, None]).sum(-1)

    def log_prob(self, z: Samples) -> Weights:
        logvar = self.logvar[:, None]
        standardized = (z - self.mean[:, None]) * (-0.5 * logvar).exp()
        return (log_standard_normal(standardized) - 0.5 * logvar).sum(-1)

    def draw(self, noise: Z, prior: Any) -> tuple[Z, Z]:
        z = self.mean + (0.5 * self.logvar).exp() * noise
        return z, prior.kl(self.mean, self.logvar, z)

    def propose(
        self, noise: Samples, prior: Any, uniforms: Weights | None, defensive_share: float
    ) -> Proposed:
        return propose(self.mean, self.logvar, noise, prior, uniforms, defensive_share)

    def detach(self) -> GaussianPosterior:
        return GaussianPosterior(self.mean.detach(), self.logvar.detach())


class PointPosterior(GaussianPosterior):
    """The mean alone, whose square norm / 2 takes the place of the KL (Ghosh 2019)."""


@dataclass(frozen=True)
class FlowedPosterior:
    """An inverse autoregressive flow of a Gaussian."""

    base: GaussianPosterior
    context: Float[Tensor, "batch context"]
    flow: AutoregressiveFlow

    @property
    def mean(self) -> Z:
        """Where the flow takes the mean of the Gaussian."""
        return self.flow(self.base.mean, self.context)[0]

    def sample(self, noise: Samples) -> tuple[Samples, Weights]:
        z, log_q = self.base.sample(noise)
        shape = z.shape[:2]
        z, log_det = self.flow(z.flatten(0, 1), self.context.repeat_interleave(shape[1], 0))
        return z.unflatten(0, shape), log_q - log_det.sum(-1).unflatten(0, shape)

    def log_prob(self, z: Samples) -> Weights:
        shape = z.shape[:2]
        context = self.context.repeat_interleave(shape[1], 0)
        before, log_det = self.flow.inverse(z.flatten(0, 1), context)
        log_q = self.base.log_prob(before.unflatten(0, shape))
        return log_q - log_det.sum(-1).unflatten(0, shape)

    def draw(self, noise: Z, prior: Any) -> tuple[Z, Z]:
        before = self.base.mean + (0.5 * self.base.logvar).exp() * noise
        z, log_det = self.flow(before, self.context)
        return z, kl_at_sample(self.base.logvar, prior.log_prob_per_latent(z)) - log_det

    def propose(
        self, noise: Samples, prior: Any, uniforms: Weights | None, defensive_share: float
    ) -> Proposed:
        return propose_with_prior(self, noise, prior, uniforms, defensive_share)

    def select(self, images: Tensor) -> FlowedPosterior:
        base = GaussianPosterior(self.base.mean[images], self.base.logvar[images])
        return FlowedPosterior(base, self.context[images], self.flow)

    def detach(self) -> FlowedPosterior:
        raise NotImplementedError("the flow's own parameters are not held: see compatibility")


@dataclass(frozen=True)
class SpherePosteriors:
    """Von Mises-Fisher distributions on the sphere of radius sqrt(d)."""

    distribution: VonMisesFisher

    @property
    def mean(self) -> Z:
        """The mean direction, on the sphere: the mean itself lies inside."""
        return math.sqrt(self.distribution.dim) * self.distribution.mu

    def sample(self, noise: Samples) -> tuple[Samples, Weights]:
        return self.distribution.sample(noise)

    def log_prob(self, z: Samples) -> Weights:
        return self.distribution.log_prob(z).to(z.dtype)

    def draw(self, noise: Z, prior: Any) -> tuple[Z, Z]:
        z = self.distribution.sample(noise[:, None])[0][:, 0]
        kl = self.distribution.kl_to_uniform().to(noise.dtype)
        return z, (kl / noise.shape[1])[:, None].expand_as(noise)

    def propose(
        self, noise: Samples, prior: Any, uniforms: Weights | None, defensive_share: float
    ) -> Proposed:
        return propose_with_prior(self, noise, prior, uniforms, defensive_share)

    def select(self, images: Tensor) -> SpherePosteriors:
        of_all = self.distribution
        return SpherePosteriors(VonMisesFisher(of_all.mu[images], of_all.kappa[images]))

    def detach(self) -> SpherePosteriors:
        of_all = self.distribution
        return SpherePosteriors(VonMisesFisher(of_all.mu.detach(), of_all.kappa.detach()))


def propose_with_prior(
    posterior: FlowedPosterior | SpherePosteriors,
    noise: Samples,
    prior: Any,
    uniforms: Weights | None,
    defensive_share: float,
) -> Proposed:
    """Turn noise into samples of (1 - a) q(z|x) + a p(z), a = `defensive_share`.

    As `proposal.propose`, but without a wider q: these have none.
    """
    z, log_q = posterior.sample(noise)
    flat, shape = z.flatten(0, 1), z.shape[:2]
    if defensive_share == 0:
        return Proposed(z, log_q, prior.log_prob(flat).unflatten(0, shape))
    assert uniforms is not None, "needed to choose the component"
    image, number = (uniforms < defensive_share).nonzero(as_tuple=True)
    if len(image):
        of_prior = prior.transform(noise[image, number])
        own = posterior.select(image).log_prob(of_prior[:, None])[:, 0]
        z = z.index_put((image, number), of_prior)
        log_q = log_q.index_put((image, number), own)
    log_prior = prior.log_prob(z.flatten(0, 1)).unflatten(0, shape)
    parts = math.log1p(-defensive_share) + log_q, math.log(defensive_share) + log_prior
    return Proposed(z, torch.logaddexp(*parts), log_prior)


# -- families --------------------------------------------------------------------------------------


class GaussianFamily(nn.Module):
    """Mean and log-variance are the encoder's outputs."""

    is_gaussian = True

    def forward(self, outputs: Outputs) -> GaussianPosterior:
        mean, logvar = outputs.float().chunk(2, -1)
        return GaussianPosterior(mean, logvar.clamp(-12, 8))  # exp stays finite; trained: within

    def tensors(self, outputs: Outputs) -> tuple[Tensor, ...]:
        """Return what `collect` takes, with a row for each image."""
        posterior = self(outputs)
        return posterior.mean, (0.5 * posterior.logvar).exp()

    def collect(self, tensors: Sequence[Tensor], latent_shape: tuple[int, ...]) -> LatentPosterior:
        """Return the posteriors of all images, as `encode` gives them."""
        mean, std = (part.cpu().numpy().reshape(-1, *latent_shape) for part in tensors)
        return Posterior(mean, std)


class PointFamily(GaussianFamily):
    """The mean is the encoder's output."""

    def forward(self, outputs: Outputs) -> PointPosterior:
        mean, logvar = outputs.float().chunk(2, -1)
        return PointPosterior(mean, torch.full_like(logvar, POINT_LOGVAR))


class FlowFamily(nn.Module):
    """The encoder gives mean and log-variance of the Gaussian, and the flow's context."""

    is_gaussian = False

    def __init__(self, latent_dim: int, num_steps: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.flow = AutoregressiveFlow(latent_dim, CONTEXT_PER_LATENT * latent_dim, num_steps)

    def forward(self, outputs: Outputs) -> FlowedPosterior:
        first, second = outputs.float().chunk(2, -1)
        d = self.latent_dim
        base = GaussianPosterior(first[:, :d], second[:, :d].clamp(-12, 8))
        context = torch.cat([first[:, d:], second[:, d:]], -1)
        return FlowedPosterior(base, context, self.flow)

    def tensors(self, outputs: Outputs) -> tuple[Tensor, ...]:
        posterior = self(outputs)
        return posterior.base.mean, posterior.base.logvar, posterior.context

    def collect(self, tensors: Sequence[Tensor], latent_shape: tuple[int, ...]) -> LatentPosterior:
        mean, logvar, context = (part.cpu() for part in tensors)
        return FlowPosterior.of_base(mean, logvar, context, self.flow)


class SphereFamily(nn.Module):
    """The mean direction is that of the first outputs; the others give the concentration."""

    is_gaussian = False

    def forward(self, outputs: Outputs) -> SpherePosteriors:
        first, second = outputs.float().chunk(2, -1)
        mu = F.normalize(first, dim=-1)
        kappa = first.shape[1] * F.softplus(second.mean(-1))  # about d: neither point nor uniform
        return SpherePosteriors(VonMisesFisher(mu, kappa.clamp(MIN_KAPPA, MAX_KAPPA)))

    def tensors(self, outputs: Outputs) -> tuple[Tensor, ...]:
        distribution = self(outputs).distribution
        return distribution.mu, distribution.kappa

    def collect(self, tensors: Sequence[Tensor], latent_shape: tuple[int, ...]) -> LatentPosterior:
        mu, kappa = (part.cpu().numpy() for part in tensors)
        return SpherePosterior.of_directions(mu, kappa)


PosteriorFamily = GaussianFamily | FlowFamily | SphereFamily


def build_posterior(config: Any, latent_dim: int) -> PosteriorFamily:
    """Return the family of a resolved configuration."""
    if config.posterior == "iaf":
        return FlowFamily(latent_dim, config.iaf_steps or DEFAULT_IAF_STEPS)
    return {
        "gaussian": GaussianFamily, "deterministic": PointFamily, "vmf": SphereFamily,
    }[config.posterior]()  # fmt: skip


def encoder_latents(config: Any, latent_dim: int) -> int:
    """Return the number of latents for which an encoder gives two outputs each."""
    return latent_dim * (1 + CONTEXT_PER_LATENT // 2) if config.posterior == "iaf" else latent_dim
