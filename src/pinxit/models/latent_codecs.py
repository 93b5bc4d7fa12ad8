"""Images as grids of continuous latents, and back: by a frozen VAE, or the pixels themselves.

A codec has `shape` (channel, row, column), `sample_latents(pixels)`, which draws from q(z|x), and
`decode(latents)`. Latents are standardized: over the training images, each channel has mean 0 and
variance 1.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from pinxit.data.batch import DatasetInfo
from pinxit.models.packed import build_packed
from pinxit.nn.batch_share import batch_randn

Pixels = UInt8[Tensor, "batch height width channel"]
Latents = Float[Tensor, "batch channel row column"]
Posterior = Float[Tensor, "batch two channel row column"]


class PixelCodec(nn.Module):
    """The latents are the pixel values, from -1 to 1."""

    def __init__(self, info: DatasetInfo) -> None:
        super().__init__()
        self.shape = (info.channels, info.height, info.width)
        self.downscale = 1

    def sample_latents(self, pixels: Pixels, noise: Latents | None = None) -> Latents:
        """Return the pixel values; there is nothing to draw."""
        return pixels.permute(0, 3, 1, 2) / 127.5 - 1

    def decode(self, latents: Latents) -> Pixels:
        values = (latents.clamp(-1, 1) + 1) * 127.5
        return values.round().to(torch.uint8).permute(0, 2, 3, 1)


class FrozenVAE(nn.Module):
    """The latents of a trained VAE with a grid. Its weights are buffers: nothing trains them.

    `spec` says how the VAE is built; it is part of the model's configuration, so a model loads
    without the VAE's own run folder.
    """

    mean: Tensor  # of each channel over the training images
    std: Tensor

    def __init__(self, spec: dict[str, Any]) -> None:
        super().__init__()
        self.vae: Any = build_packed(spec)
        self.shape: tuple[int, int, int] = self.vae.latent_shape
        self.downscale: int = self.vae.config.downscale
        self.register_buffer("mean", torch.zeros(self.shape[0], 1, 1))
        self.register_buffer("std", torch.ones(self.shape[0], 1, 1))

    def train(self, mode: bool = True) -> FrozenVAE:
        """Stay in evaluation mode."""
        return super().train(False)

    def sample_latents(self, pixels: Pixels, noise: Latents | None = None) -> Latents:
        """Draw standardized latents from q(z|x): with `noise` 0 the mean, None draws it."""
        mean, std = self.encode(pixels).unbind(1)
        if noise is None:
            noise = batch_randn(*mean.shape, device=mean.device)
        return mean + std * noise

    def encode(self, pixels: Pixels) -> Posterior:
        """Return means and standard deviations of standardized latents."""
        with torch.no_grad(), torch.autocast(pixels.device.type, enabled=False):
            mean, std = self.vae.pixels_to_posterior(pixels)
            return torch.stack([(mean - self.mean) / self.std, std / self.std], 1)

    def decode(self, latents: Latents) -> Pixels:
        """Return the images of standardized latents: the mean of p(x|z)."""
        return self.vae.latents_to_pixels(latents * self.std + self.mean)


LatentCodec = PixelCodec | FrozenVAE


def measure_latents(
    codec: FrozenVAE, pixels: Pixels, batch_size: int = 64
) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each channel of q(z), over images and positions."""
    count, total, squares = 0, 0.0, 0.0
    for batch in pixels.split(batch_size):
        mean, std = codec.vae.pixels_to_posterior(batch)
        count += mean[:, 0].numel()
        total = total + mean.double().sum((0, 2, 3))
        squares = squares + (mean.double().square() + std.double().square()).sum((0, 2, 3))
    average = torch.as_tensor(total / count)
    variance = torch.as_tensor(squares / count) - average.square()
    shape = (-1, 1, 1)
    return average.float().view(shape), variance.clamp(min=1e-8).sqrt().float().view(shape)
