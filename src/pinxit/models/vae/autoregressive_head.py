"""A local autoregressive head on the decoder (PixelVAE, Gulrajani 2016; van den Oord 2016).

    p(x|z) = prod_i p(x_i | x_<i, z)

in raster order, each pixel given a few pixels above and to the left of it, and the decoder's
features of z at its place: an exact likelihood given z. The head sees so little that what is
farther apart has to be in z (Chen 2017, "Variational lossy autoencoder").

The first convolution sees the pixels before x_i, the others also what the layers below have
computed at i: `forward` is of all pixels at once, `generate` computes one pixel after another, each
layer at that pixel alone, from what it computed at those before.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

FEATURES = 8  # maps that the decoder gives the head
HIDDEN = 32  # channels of the head
RADIUS = 1  # pixels above and to each side that a layer sees
NUM_LAYERS = 1  # after the first

Maps = Float[Tensor, "batch channel height width"]
At = Float[Tensor, "batch channel"]  # of one pixel


class CausalConv(nn.Module):
    """A convolution over the rows above and the pixels to the left, and over the pixel if `own`."""

    mask: Tensor

    def __init__(self, inputs: int, outputs: int, radius: int, own: bool) -> None:
        super().__init__()
        self.radius = radius
        mask = torch.ones(radius + 1, 2 * radius + 1)
        mask[-1, radius + own :] = 0
        self.register_buffer("mask", mask, persistent=False)
        bound = 1 / math.sqrt(inputs * float(mask.sum()))
        shape = (outputs, inputs, *mask.shape)
        self.weight = nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def pad(self, h: Maps) -> Maps:
        """Add the zeros that are seen beyond the image."""
        return F.pad(h, (self.radius, self.radius, self.radius, 0))

    def forward(self, h: Maps) -> Maps:
        return F.conv2d(self.pad(h), self.weight * self.mask, self.bias)

    def at(self, padded: Maps, row: int, column: int) -> At:
        """Return the output at one pixel of an input that `pad` has padded."""
        rows, columns = self.mask.shape
        window = padded[:, :, row : row + rows, column : column + columns]
        return F.linear(window.flatten(1), (self.weight * self.mask).flatten(1), self.bias)


class AutoregressiveHead(nn.Module):
    """Likelihood parameters of each pixel, of the decoder's features and the pixels before it."""

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.channels = channels
        self.first = CausalConv(channels, HIDDEN, RADIUS, own=False)
        self.convs = nn.ModuleList(
            CausalConv(HIDDEN, HIDDEN, RADIUS, own=True) for _ in range(NUM_LAYERS)
        )
        self.given = nn.ModuleList(nn.Conv2d(FEATURES, HIDDEN, 1) for _ in range(NUM_LAYERS + 1))
        self.out_proj = nn.Conv2d(HIDDEN, outputs, 1)

    def forward(
        self, features: Float[Tensor, "*batch f h w"], x: Float[Tensor, "*batch c h w"]
    ) -> Float[Tensor, "*batch outputs h w"]:
        """Return the parameters of images x from 0 to 1; x is repeated over batch dimensions."""
        shape = features.shape[:-3]
        x = x.expand(*shape, *x.shape[-3:]).reshape(-1, *x.shape[-3:])
        flat = features.reshape(-1, *features.shape[-3:])
        h = self.first(2 * x - 1) + self.given[0](flat)
        for conv, given in zip(self.convs, self.given[1:], strict=True):
            h = h + F.silu(conv(F.silu(h)) + given(flat))
        return self.out_proj(F.silu(h)).unflatten(0, shape)

    @torch.no_grad()
    def generate(
        self, features: Maps, choose: Callable[[Maps, int, int], tuple[Tensor, Tensor]]
    ) -> Maps:
        """Generate images pixel by pixel.

        `choose` gets the parameters `[batch, outputs, 1, 1]` of the pixel at a row and a column; it
        returns the pixel as it is seen by the following ones, and as it is returned, both
        `[batch, channel, 1, 1]` from 0 to 1.
        """
        batch, _, height, width = features.shape
        given = [layer(features) for layer in self.given]
        seen = self.first.pad(features.new_zeros(batch, self.channels, height, width))
        blank = features.new_zeros(batch, HIDDEN, height, width)
        hidden = [conv.pad(blank) for conv in self.convs if isinstance(conv, CausalConv)]
        images = features.new_zeros(batch, self.channels, height, width)
        weight = self.out_proj.weight.flatten(1)
        for row in range(height):
            for column in range(width):
                h = self.first.at(seen, row, column) + given[0][:, :, row, column]
                for conv, of_z, maps in zip(self.convs, given[1:], hidden, strict=True):
                    assert isinstance(conv, CausalConv)
                    maps[:, :, row + RADIUS, column + RADIUS] = F.silu(h)
                    h = h + F.silu(conv.at(maps, row, column) + of_z[:, :, row, column])
                outputs = F.linear(F.silu(h), weight, self.out_proj.bias)
                own, shown = choose(outputs[..., None, None], row, column)
                seen[:, :, row + RADIUS, column + RADIUS] = 2 * own[..., 0, 0] - 1
                images[:, :, row, column] = shown[..., 0, 0]
        return images
