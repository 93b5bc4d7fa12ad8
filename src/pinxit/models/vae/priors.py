"""p(z): N(0, I), or N(0, I) behind a learned invertible map.

A trained encoder does not fill N(0, I): the aggregated posterior has holes and corners, and what
is drawn in a hole decodes to no image (Hoffman & Johnson 2016, "ELBO surgery"). A prior that is
learned with the model closes the gap.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pinxit.nn.layers import zero_init

Z = Float[Tensor, "batch latent"]


class StandardPrior(nn.Module):
    """N(0, I): its KL from a diagonal Gaussian has a closed form."""

    def kl(self, mean: Z, logvar: Z, z: Z) -> Z:
        """1/2 (exp s - (1 + s) + mu^2), s = log sigma^2 (Kingma & Welling 2013, app. B)."""
        return 0.5 * (logvar.exp() - (1 + logvar) + mean.square())

    def log_prob(self, z: Z) -> Float[Tensor, " batch"]:
        return log_normal(z).sum(-1)

    def transform(self, noise: Z) -> Z:
        """Standard normal noise to a sample of the prior."""
        return noise


class FlowPrior(nn.Module):
    """z = f(u), u ~ N(0, I), f of affine couplings (RealNVP, Dinh 2016, eq. 7-8).

    Couplings move half the latents by amounts that the other half decides, each half in turn.
    Begins as the identity: the prior begins as N(0, I).
    """

    def __init__(self, latent_dim: int, width: int = 128, couplings: int = 8) -> None:
        super().__init__()
        halves = torch.arange(latent_dim) % 2
        self.register_buffer("kept", torch.stack([halves, 1 - halves]).float())
        self.nets = nn.ModuleList(
            nn.Sequential(
                nn.Linear(latent_dim, width),
                nn.SiLU(),
                nn.Linear(width, width),
                nn.SiLU(),
                zero_init(nn.Linear(width, 2 * latent_dim)),
            )
            for _ in range(couplings)
        )

    kept: Tensor

    def _affine(self, number: int, z: Z) -> tuple[Z, Z]:
        """Log-scale (bounded, so that the map stays well conditioned) and shift; 0 where kept."""
        kept = self.kept[number % 2]
        scale, shift = self.nets[number](z * kept).float().chunk(2, -1)
        return 2 * torch.tanh(scale / 2) * (1 - kept), shift * (1 - kept)

    def inverse(self, z: Z) -> tuple[Z, Z]:
        """u with z = f(u), and log |du/dz| of each latent (the map is diagonal within a half)."""
        log_det = torch.zeros_like(z)
        for number in range(len(self.nets)):
            scale, shift = self._affine(number, z)
            z = z * scale.exp() + shift
            log_det = log_det + scale
        return z, log_det

    def transform(self, noise: Z) -> Z:
        """f: standard normal noise to a sample of the prior."""
        z = noise
        for number in reversed(range(len(self.nets))):
            scale, shift = self._affine(number, z)
            z = (z - shift) * (-scale).exp()
        return z

    def _log_prob(self, z: Z) -> Z:
        u, log_det = self.inverse(z)
        return log_normal(u) + log_det

    def kl(self, mean: Z, logvar: Z, z: Z) -> Z:
        """log q(z) - log p(z) at the sample z: an unbiased estimate, latent by latent."""
        entropy = -0.5 * (math.log(2 * math.pi) + 1 + logvar)  # E log q, in closed form
        return entropy - self._log_prob(z)

    def log_prob(self, z: Z) -> Float[Tensor, " batch"]:
        return self._log_prob(z).sum(-1)


Prior = StandardPrior | FlowPrior


def log_normal(u: Z) -> Z:
    """log N(u; 0, 1), elementwise."""
    return -0.5 * (u.square() + math.log(2 * math.pi))


def prior(name: str, latent_dim: int) -> Prior:
    """The prior of that name."""
    return FlowPrior(latent_dim) if name == "flow" else StandardPrior()
