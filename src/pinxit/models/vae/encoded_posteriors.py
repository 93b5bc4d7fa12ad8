"""q(z|x) of encoded images that is no Gaussian, as arrays: see `results.LatentPosterior`."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int
from torch import Tensor

from pinxit.models.vae.autoregressive_flow import AutoregressiveFlow
from pinxit.models.vae.priors import log_standard_normal
from pinxit.models.vae.von_mises_fisher import VonMisesFisher
from pinxit.nn.rng import per_image_normal

NUM_STD_SAMPLES = 64  # of q(z|x), of whose spread the standard deviation is
ROWS_AT_ONCE = 50_000

Latents = Float32[np.ndarray, "n latent"]
Rows = Int[np.ndarray, " rows"]


@dataclass(frozen=True)
class FlowPosterior:
    """Inverse autoregressive flows of Gaussians; the flow in float64, so that it inverts well."""

    mean: Latents
    std: Latents
    base_mean: Float[Tensor, "n latent"]
    base_logvar: Float[Tensor, "n latent"]
    context: Float[Tensor, "n context"]
    flow: AutoregressiveFlow

    is_gaussian = False
    has_lebesgue_density = True

    @classmethod
    @torch.no_grad()
    def of_base(
        cls, mean: Tensor, logvar: Tensor, context: Tensor, flow: AutoregressiveFlow
    ) -> FlowPosterior:
        """Compute the point that is reconstructed, and the spread of some samples."""
        exact = copy.deepcopy(flow).double().cpu().eval()
        mean, logvar, context = mean.double(), logvar.double(), context.double()
        point = exact(mean, context)[0]
        noise = per_image_normal(NUM_STD_SAMPLES // 2, (mean.shape[1],), 0).double()
        total, squares = torch.zeros_like(mean), torch.zeros_like(mean)
        for e in torch.cat([noise, -noise]):
            z = exact(mean + (0.5 * logvar).exp() * e, context)[0] - point
            total, squares = total + z, squares + z.square()
        variance = squares / NUM_STD_SAMPLES - (total / NUM_STD_SAMPLES).square()
        std = variance.clamp(min=1e-16).sqrt()
        arrays = point.float().numpy(), std.float().numpy()
        return cls(*arrays, mean, logvar, context, exact)

    def flatten(self) -> FlowPosterior:
        """Return it as `[n, latent]`: as it is."""
        return self

    def take(self, rows: Rows) -> FlowPosterior:
        """Return the posteriors of these images."""
        chosen = torch.from_numpy(np.asarray(rows))
        return FlowPosterior(
            self.mean[rows],
            self.std[rows],
            self.base_mean[chosen],
            self.base_logvar[chosen],
            self.context[chosen],
            self.flow,
        )

    @torch.no_grad()
    def draw(
        self, noise: Float[np.ndarray, "n latent"]
    ) -> tuple[Float64[np.ndarray, "n latent"], Float64[np.ndarray, " n"]]:
        """Return a sample of each posterior, of standard normal noise, and log q(z|x) there."""
        e = torch.from_numpy(np.asarray(noise, np.float64))
        z, log_det = self.flow(self.base_mean + (0.5 * self.base_logvar).exp() * e, self.context)
        log_q = (log_standard_normal(e) - 0.5 * self.base_logvar - log_det).sum(1)
        return z.numpy(), log_q.numpy()

    @torch.no_grad()
    def log_prob(self, z: Float[np.ndarray, "m latent"]) -> Float64[np.ndarray, "m n"]:
        """log q(z_i|x_j) of each z and image; it inverts the flow for each pair."""
        n = len(self.base_mean)
        points = torch.from_numpy(np.asarray(z, np.float64))
        parts = []
        for rows in points.split(max(1, ROWS_AT_ONCE // n)):
            repeated = rows.repeat_interleave(n, 0)
            mean, logvar, context = (
                part.repeat(len(rows), 1)
                for part in (self.base_mean, self.base_logvar, self.context)
            )
            before, log_det = self.flow.inverse(repeated, context)
            e = (before - mean) * (-0.5 * logvar).exp()
            log_q = (log_standard_normal(e) - 0.5 * logvar - log_det).sum(1)
            parts.append(log_q.unflatten(0, (len(rows), n)))
        return torch.cat(parts).numpy() if parts else np.empty((0, n))

    @property
    def flops_per_pair(self) -> float:
        """Floating-point operations of one density of `log_prob`."""
        parameters = sum(p.numel() for p in self.flow.parameters())
        return 2.0 * parameters * self.base_mean.shape[1]


@dataclass(frozen=True)
class SpherePosterior:
    """Von Mises-Fisher distributions on the sphere of radius sqrt(d)."""

    mean: Latents  # on the sphere
    std: Latents
    kappa: Float32[np.ndarray, " n"]

    is_gaussian = False
    has_lebesgue_density = False

    @classmethod
    def of_directions(cls, mu: Latents, kappa: Float32[np.ndarray, " n"]) -> SpherePosterior:
        """Compute the standard deviations."""
        tensors = torch.from_numpy(mu), torch.from_numpy(kappa)
        std = VonMisesFisher(*tensors).std().float().numpy()
        return cls((math.sqrt(mu.shape[1]) * mu).astype(np.float32), std, kappa)

    @property
    def _distribution(self) -> VonMisesFisher:
        mu = torch.from_numpy(self.mean).double()
        return VonMisesFisher(mu / mu.norm(dim=1, keepdim=True), torch.from_numpy(self.kappa))

    def flatten(self) -> SpherePosterior:
        """Return it as `[n, latent]`: as it is."""
        return self

    def take(self, rows: Rows) -> SpherePosterior:
        """Return the posteriors of these images."""
        return SpherePosterior(self.mean[rows], self.std[rows], self.kappa[rows])

    def draw(
        self, noise: Float[np.ndarray, "n latent"]
    ) -> tuple[Float64[np.ndarray, "n latent"], Float64[np.ndarray, " n"]]:
        """Return a sample of each posterior, of standard normal noise, and log q(z|x) there.

        The density is with respect to the sphere's area.
        """
        e = torch.from_numpy(np.asarray(noise, np.float64))
        z, log_q = self._distribution.sample(e[:, None])
        return z[:, 0].numpy(), log_q[:, 0].numpy()

    def log_prob(self, z: Float[np.ndarray, "m latent"]) -> Float64[np.ndarray, "m n"]:
        """log q(z_i|x_j) of each z on the sphere and each image."""
        distribution = self._distribution
        points = torch.from_numpy(np.asarray(z, np.float64))
        cos = points @ distribution.mu.T / math.sqrt(distribution.dim)
        kappa = distribution.kappa.double()
        return (distribution.log_at_mean + kappa * (cos - 1)).numpy()

    @property
    def flops_per_pair(self) -> float:
        """Floating-point operations of one density of `log_prob`."""
        return 2.0 * self.mean.shape[1]
