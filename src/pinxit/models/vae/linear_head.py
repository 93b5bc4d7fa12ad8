"""A linear autoregressive head on the decoder: connections between pixels (DARN, Gregor 2014).

    logit_i = f_i(z) + sum_j<i W_ij (2 x_j - 1)

in raster order: an exact likelihood of binary pixels given z, for the price of one matrix product
per image. The sum does not depend on z, so that further samples of z cost nothing.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pinxit.models.vae.autoregressive_head import Choose, Maps

Observed = Float[Tensor, "*batch channel height width"]


class LinearHead(nn.Module):
    """Logits of each pixel, linear in all pixels before it; channels of a pixel are independent."""

    before: Tensor

    def __init__(self, channels: int, height: int, width: int) -> None:
        super().__init__()
        self.shape, self.num_features = (channels, height, width), channels
        pixels = height * width
        self.weight = nn.Parameter(torch.zeros(channels * pixels, channels * pixels))
        before = torch.ones(pixels, pixels).tril(-1).repeat(channels, channels)
        self.register_buffer("before", before, persistent=False)

    def shift(self, x: Observed) -> Observed:
        """Return what the pixels before each one add to its logit."""
        flat = (2 * x - 1).flatten(-3)
        return (flat @ (self.weight * self.before).T).unflatten(-1, self.shape)

    def forward(
        self, features: Float[Tensor, "*batch f h w"], x: Observed
    ) -> Float[Tensor, "*batch c h w"]:
        """Return the logits of images x from 0 to 1; x is repeated over batch dimensions."""
        return features + self.shift(x)

    @torch.no_grad()
    def generate(self, features: Maps, choose: Choose) -> Maps:
        """Generate images pixel by pixel, as `AutoregressiveHead.generate`."""
        height, width = features.shape[-2:]
        images = torch.zeros_like(features)
        seen = torch.zeros_like(features)
        weight = (self.weight * self.before).unflatten(0, self.shape)
        for row in range(height):
            for column in range(width):
                shift = seen.flatten(1) @ weight[:, row, column].T
                logits = features[..., row, column] + shift
                own, shown = choose(logits[..., None, None], row, column)
                seen[..., row, column] = 2 * own[..., 0, 0] - 1
                images[..., row, column] = shown[..., 0, 0]
        return images
