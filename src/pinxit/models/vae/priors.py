"""p(z): N(0, I), or N(0, I) behind a learned invertible map; `vamp_prior` has a mixture.

The encodings of all images together (the aggregated posterior) do not fill N(0, I). A sample of
the prior that falls into a hole decodes to no image (Hoffman & Johnson 2016, "ELBO surgery"). A
prior that is learned with the model closes the gap.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pinxit.nn.layers import zero_init

Z = Float[Tensor, "batch latent"]


def log_standard_normal(u: Z) -> Z:
    """log N(u; 0, 1), elementwise."""
    return -0.5 * (u.square() + math.log(2 * math.pi))


def kl_at_sample(logvar: Z, log_p: Z) -> Z:
    """E log q(z) of a Gaussian q in closed form, less log p(z) at a sample, per latent."""
    return -0.5 * (math.log(2 * math.pi) + 1 + logvar) - log_p


class StandardPrior(nn.Module):
    """N(0, I). Its KL from a diagonal Gaussian has a closed form."""

    def kl(self, mean: Z, logvar: Z, z: Z) -> Z:
        """1/2 (exp s - (1 + s) + mu^2), s = log sigma^2 (Kingma & Welling 2013, app. B)."""
        return 0.5 * (logvar.exp() - (1 + logvar) + mean.square())

    def log_prob_per_latent(self, z: Z) -> Z:
        """log p(z_k) of each latent."""
        return log_standard_normal(z)

    def log_prob(self, z: Z) -> Float[Tensor, " batch"]:
        return log_standard_normal(z).sum(-1)

    def transform(self, noise: Z) -> Z:
        """Map standard normal noise to a sample of the prior."""
        return noise

    def inverse(self, z: Z) -> tuple[Z, Z]:
        """Return the noise that gives z, and log |du/dz| per latent."""
        return z, torch.zeros_like(z)


class FlowPrior(nn.Module):
    """z = f(u), u ~ N(0, I), f of affine couplings (RealNVP, Dinh 2016, eq. 7-8).

    Each coupling scales and shifts half of the latents by functions of the other half; the halves
    alternate. Initialised as the identity, so that the prior starts as N(0, I).
    """

    masks: Tensor

    def __init__(self, latent_dim: int, width: int = 128, num_couplings: int = 8) -> None:
        super().__init__()
        odd = torch.arange(latent_dim) % 2
        self.register_buffer("masks", torch.stack([odd, 1 - odd]).float())
        self.nets = nn.ModuleList(
            nn.Sequential(
                nn.Linear(latent_dim, width),
                nn.SiLU(),
                nn.Linear(width, width),
                nn.SiLU(),
                zero_init(nn.Linear(width, 2 * latent_dim)),
            )
            for _ in range(num_couplings)
        )

    def _scale_and_shift(self, i: int, z: Z) -> tuple[Z, Z]:
        """Return log-scale and shift of coupling i; both are 0 for unchanged latents.

        The log-scale is bounded, so that the map stays well conditioned.
        """
        mask = self.masks[i % 2]
        scale, shift = self.nets[i](z * mask).float().chunk(2, -1)
        return 2 * torch.tanh(scale / 2) * (1 - mask), shift * (1 - mask)

    def inverse(self, z: Z) -> tuple[Z, Z]:
        """Return u with z = f(u), and log |du/dz| per latent (each coupling is diagonal)."""
        log_det = torch.zeros_like(z)
        for i in range(len(self.nets)):
            scale, shift = self._scale_and_shift(i, z)
            z = z * scale.exp() + shift
            log_det = log_det + scale
        return z, log_det

    def transform(self, noise: Z) -> Z:
        """f: map standard normal noise to a sample of the prior."""
        z = noise
        for i in reversed(range(len(self.nets))):
            scale, shift = self._scale_and_shift(i, z)
            z = (z - shift) * (-scale).exp()
        return z

    def log_prob_per_latent(self, z: Z) -> Z:
        """log N(u) + log |du/dz| of each latent; their sum is log p(z)."""
        u, log_det = self.inverse(z)
        return log_standard_normal(u) + log_det

    def kl(self, mean: Z, logvar: Z, z: Z) -> Z:
        """log q(z) - log p(z) at the sample z: an unbiased estimate, per latent."""
        return kl_at_sample(logvar, self.log_prob_per_latent(z))

    def log_prob(self, z: Z) -> Float[Tensor, " batch"]:
        return self.log_prob_per_latent(z).sum(-1)
