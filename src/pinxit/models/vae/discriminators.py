"""Discriminators, trained beside a VAE, for total correlation and adversarial terms.

One optimizer holds the VAE and its discriminators; they never share a gradient. A term of the VAE
takes a discriminator through `frozen`, without its parameters; a discriminator takes detached
values of the VAE.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pinxit.data.batch import DatasetInfo
from pinxit.nn.batch_share import batch_rand

LATENT_WIDTH = 128
PATCH_WIDTH = 32
MIN_SIDE = 8  # pixels; below it a patch is not halved again


class LatentDiscriminator(nn.Sequential):
    """z -> a logit."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__(
            nn.Linear(latent_dim, LATENT_WIDTH),
            nn.LeakyReLU(0.2),
            nn.Linear(LATENT_WIDTH, LATENT_WIDTH),
            nn.LeakyReLU(0.2),
            nn.Linear(LATENT_WIDTH, 1),
        )


class PatchDiscriminator(nn.Sequential):
    """Images from 0 to 1 -> a number per patch (PatchGAN, Isola 2017).

    Without batch norm: the output for an image does not depend on the others.
    """

    def __init__(self, info: DatasetInfo) -> None:
        width = PATCH_WIDTH
        layers: list[nn.Module] = [
            nn.Conv2d(info.channels, width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
        ]
        side = min(info.height, info.width) // 2
        while side >= MIN_SIDE and width < 4 * PATCH_WIDTH:
            layers += [nn.Conv2d(width, 2 * width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
            width, side = 2 * width, side // 2
        layers += [nn.Conv2d(width, 1, 3, padding=1, bias=False)]
        super().__init__(*layers)


def build_discriminators(config: Any, info: DatasetInfo, latent_dim: int) -> nn.ModuleDict:
    """Return the discriminators that a configuration's penalties need, by the penalty."""
    discriminators = nn.ModuleDict()
    if config.total_correlation and config.tc_estimate == "discriminator":
        discriminators["total_correlation"] = LatentDiscriminator(latent_dim)
    if config.latent_adversarial:
        discriminators["latent_adversarial"] = LatentDiscriminator(latent_dim)
    if config.adversarial:
        discriminators["adversarial"] = PatchDiscriminator(info)
    return discriminators


def frozen(discriminator: nn.Module, inputs: Tensor) -> Tensor:
    """Return the discriminator's output; gradients reach the inputs, not its parameters."""
    detached = {name: parameter.detach() for name, parameter in discriminator.named_parameters()}
    return torch.func.functional_call(discriminator, detached, (inputs,))


def shuffle_latents(z: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch latent"]:
    """Permute each latent over the batch on its own: samples of prod_k q(z_k) (Kim 2018)."""
    order = batch_rand(*z.shape, device=z.device).argsort(0)
    return z.gather(0, order)
