"""A local autoregressive head on the decoder (PixelVAE, Gulrajani 2016).

    p(x|z) = prod_i p(x_i | x_<i, z)

in raster order, each factor by the same small network at each pixel, of the pixels in a window
above and to the left of it, and of the decoder's features of z at its place: an exact likelihood
given z. The window is so small that what is farther apart has to be in z (Chen 2017, "Variational
lossy autoencoder").

`forward` is of all pixels at once, `generate` of one pixel after another. The channels come first
in both, so that each layer is one matrix product over the pixels of all images.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

FEATURES = 8  # maps that the decoder gives the head
HIDDEN = 32  # units of the head
RADIUS = 2  # pixels above and to each side that a pixel sees
WINDOW = 2 * RADIUS * (RADIUS + 1)  # pixels that a pixel sees

Maps = Float[Tensor, "batch channel height width"]
Choose = Callable[[Maps, int, int], tuple[Tensor, Tensor]]


class ChannelLinear(nn.Module):
    """A linear layer over the first dimension."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.empty(outputs, inputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, h: Float[Tensor, "inputs ..."]) -> Float[Tensor, "outputs ..."]:
        flat = torch.addmm(self.bias[:, None], self.weight, h.flatten(1))
        return flat.unflatten(1, h.shape[1:])


class AutoregressiveHead(nn.Module):
    """Likelihood parameters of each pixel, of the decoder's features and the pixels before it."""

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.channels, self.num_features = channels, FEATURES
        self.feature_proj = ChannelLinear(FEATURES, HIDDEN)
        self.window_proj = ChannelLinear(channels * WINDOW, HIDDEN)
        self.out_proj = ChannelLinear(HIDDEN, outputs)

    def forward(
        self, features: Float[Tensor, "*batch f h w"], x: Float[Tensor, "*batch c h w"]
    ) -> Float[Tensor, "*batch outputs h w"]:
        """Return the parameters of images x from 0 to 1; x is repeated over batch dimensions."""
        of_z = self.feature_proj(features.movedim(-3, 0).flatten(-2))
        of_pixels = self.window_proj(windows(x))
        outputs = self.out_proj(F.silu(of_z + of_pixels))
        return outputs.movedim(0, -2).unflatten(-1, features.shape[-2:])

    @torch.no_grad()
    def generate(self, features: Maps, choose: Choose) -> Maps:
        """Generate images pixel by pixel.

        `choose` gets the parameters `[batch, outputs, 1, 1]` of the pixel at a row and a column; it
        returns the pixel as it is seen by the following ones, and as it is returned, both
        `[batch, channel, 1, 1]` from 0 to 1.
        """
        batch, _, height, width = features.shape
        of_z = self.feature_proj(features.movedim(1, 0))
        images = features.new_zeros(batch, self.channels, height, width)
        seen = pad_before(images)
        for row in range(height):
            for column in range(width):
                window = seen[..., row : row + RADIUS + 1, column : column + 2 * RADIUS + 1]
                before = window.flatten(2)[..., :WINDOW].permute(2, 1, 0).flatten(0, 1)
                h = F.silu(of_z[..., row, column] + self.window_proj(before))
                outputs = self.out_proj(h).T
                own, shown = choose(outputs[..., None, None], row, column)
                seen[..., row + RADIUS, column + RADIUS] = 2 * own[..., 0, 0] - 1
                images[..., row, column] = shown[..., 0, 0]
        return images


def windows(x: Float[Tensor, "*batch c h w"]) -> Float[Tensor, "seen *batch pixel"]:
    """Return the values that each pixel sees, from -1 to 1: by pixel of the window, then channel.

    The pixels of a window are in raster order; they end before the pixel itself.
    """
    height, width = x.shape[-2:]
    padded = pad_before(2 * x - 1).movedim(-3, 0)
    steps = [divmod(number, 2 * RADIUS + 1) for number in range(WINDOW)]
    shifted = [padded[..., row : row + height, column:][..., :width] for row, column in steps]
    return torch.cat(shifted).flatten(-2)


def pad_before(x: Float[Tensor, "*batch h w"]) -> Float[Tensor, "*batch padded_h padded_w"]:
    """Add the zeros that are seen beyond the image."""
    return F.pad(x, (RADIUS, RADIUS, RADIUS, 0))
