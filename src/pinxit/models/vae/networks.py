"""The encoder's and the decoder's networks: image to vector, vector to image.

An encoder maps x `[batch, channel, height, width]` to `[batch, 2 latent]` (mean, log-variance),
a decoder z `[batch, latent]` to `[batch, outputs, height, width]`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from pinxit.data.batch import DatasetInfo
from pinxit.models.vae.config import Config
from pinxit.nn.layers import LabelEmbedding, ResidualConv, ResidualLinear

Labels = Int64[Tensor, " batch"] | None


@dataclass(frozen=True)
class Size:
    """What both halves are built from."""

    latent: int
    width: int
    depth: int
    outputs: int  # numbers a pixel that the likelihood needs
    classes: int  # labels that both halves see; 0: none


class MLPEncoder(nn.Module):
    """Flatten, one wide layer, residual blocks."""

    def __init__(self, size: Size, info: DatasetInfo) -> None:
        super().__init__()
        width = size.width
        self.first = nn.Linear(info.dims, width)
        self.labels = LabelEmbedding(size.classes, width) if size.classes else None
        self.blocks = nn.Sequential(*(ResidualLinear(width) for _ in range(size.depth)))
        self.last = nn.Linear(width, 2 * size.latent)

    def forward(self, x: Float[Tensor, "b c h w"], labels: Labels) -> Float[Tensor, "b two_latent"]:
        h = self.first(x.flatten(1))
        if self.labels is not None:
            h = h + self.labels(labels, len(h))
        return self.last(F.silu(self.blocks(h)))


class MLPDecoder(nn.Module):
    """The encoder's mirror."""

    def __init__(self, size: Size, info: DatasetInfo) -> None:
        super().__init__()
        width = size.width
        self.shape = (size.outputs, info.height, info.width)
        self.first = nn.Linear(size.latent, width)
        self.labels = LabelEmbedding(size.classes, width) if size.classes else None
        self.blocks = nn.Sequential(*(ResidualLinear(width) for _ in range(size.depth)))
        self.last = nn.Linear(width, math.prod(self.shape))

    def hidden(self, z: Float[Tensor, "b latent"], labels: Labels) -> Float[Tensor, "b width"]:
        """All but the last layer, which is one matrix product."""
        h = self.first(z)
        if self.labels is not None:
            h = h + self.labels(labels, len(h))
        return F.silu(self.blocks(h))

    def forward(self, z: Float[Tensor, "b latent"], labels: Labels) -> Float[Tensor, "b o h w"]:
        return self.last(self.hidden(z, labels)).unflatten(1, self.shape)


class LinearEncoder(nn.Module):
    """mu(x) = W x + b and one log-variance a latent for all images: all that PPCA needs."""

    def __init__(self, size: Size, info: DatasetInfo) -> None:
        super().__init__()
        self.mean = nn.Linear(info.dims, size.latent)
        self.logvar = nn.Parameter(torch.zeros(size.latent))

    def forward(self, x: Float[Tensor, "b c h w"], labels: Labels) -> Float[Tensor, "b two_latent"]:
        mean = self.mean(x.flatten(1))
        return torch.cat([mean, self.logvar.expand_as(mean)], 1)


class LinearDecoder(nn.Module):
    """m(z) = W z + b (Lucas 2019: with a gaussian of one variance, probabilistic PCA)."""

    def __init__(self, size: Size, info: DatasetInfo) -> None:
        super().__init__()
        self.shape = (size.outputs, info.height, info.width)
        self.last = nn.Linear(size.latent, math.prod(self.shape))

    def forward(self, z: Float[Tensor, "b latent"], labels: Labels) -> Float[Tensor, "b o h w"]:
        return self.last(z).unflatten(1, self.shape)


class Pyramid:
    """Resolutions and channels of the conv networks, for images of 8 to 256 pixels a side.

    Each level halves the image until the shorter side is 4 to 7; sides that do not divide are
    padded and the padding is cut off again.
    """

    def __init__(self, size: Size, info: DatasetInfo) -> None:
        self.levels = max(1, int(math.log2(max(8, min(info.height, info.width)) / 4)))
        step = 2**self.levels
        self.height, self.width = math.ceil(info.height / step), math.ceil(info.width / step)
        self.padding = (self.width * step - info.width, self.height * step - info.height)
        # the finest maps stay thin: channels double with each level, up to 8 times
        self.channels = [size.width * min(8, 2**level) for level in range(self.levels)]

    @property
    def numbers(self) -> int:
        """Numbers at the coarsest level."""
        return self.channels[-1] * self.height * self.width


class ConvEncoder(nn.Module):
    """Space-to-depth and a 1 x 1 product at each level, then residual 3 x 3 blocks."""

    def __init__(self, size: Size, info: DatasetInfo) -> None:
        super().__init__()
        pyramid = Pyramid(size, info)
        self.padding = pyramid.padding
        before, layers = info.channels, []
        for channels in pyramid.channels:
            layers += [nn.PixelUnshuffle(2), nn.Conv2d(4 * before, channels, 1)]
            layers += [ResidualConv(channels) for _ in range(size.depth)]
            before = channels
        self.body = nn.Sequential(*layers)
        self.labels = LabelEmbedding(size.classes, before) if size.classes else None
        self.last = nn.Linear(pyramid.numbers, 2 * size.latent)

    def forward(self, x: Float[Tensor, "b c h w"], labels: Labels) -> Float[Tensor, "b two_latent"]:
        if any(self.padding):
            x = F.pad(x, (0, self.padding[0], 0, self.padding[1]), mode="replicate")
        h = self.body(x)
        if self.labels is not None:
            h = h + self.labels(labels, len(h))[:, :, None, None]
        return self.last(F.silu(h).flatten(1))


class ConvDecoder(nn.Module):
    """The encoder's mirror: residual blocks, a 1 x 1 product and depth-to-space at each level."""

    def __init__(self, size: Size, info: DatasetInfo) -> None:
        super().__init__()
        pyramid = Pyramid(size, info)
        self.crop = (info.height, info.width)
        self.shape = (pyramid.channels[-1], pyramid.height, pyramid.width)
        self.first = nn.Linear(size.latent, pyramid.numbers)
        self.labels = LabelEmbedding(size.classes, pyramid.channels[-1]) if size.classes else None
        layers: list[nn.Module] = []
        after = [size.outputs, *pyramid.channels[:-1]]
        for channels, finer in zip(pyramid.channels[::-1], after[::-1], strict=True):
            layers += [ResidualConv(channels) for _ in range(size.depth)]
            layers += [nn.SiLU(), nn.Conv2d(channels, 4 * finer, 1), nn.PixelShuffle(2)]
        self.body = nn.Sequential(*layers)

    def forward(self, z: Float[Tensor, "b latent"], labels: Labels) -> Float[Tensor, "b o h w"]:
        h = self.first(z).unflatten(1, self.shape)
        if self.labels is not None:
            h = h + self.labels(labels, len(h))[:, :, None, None]
        return self.body(h)[..., : self.crop[0], : self.crop[1]]


def networks(config: Config, info: DatasetInfo, outputs: int) -> tuple[nn.Module, nn.Module]:
    """The encoder and the decoder that a resolved configuration names."""
    assert config.latent_dim and config.width and config.depth, "a resolved configuration"
    classes = len(info.label_names) if config.condition == "label" else 0
    size = Size(config.latent_dim, config.width, config.depth, outputs, classes)
    encoder, decoder = {
        "linear": (LinearEncoder, LinearDecoder),
        "mlp": (MLPEncoder, MLPDecoder),
        "conv": (ConvEncoder, ConvDecoder),
    }[config.network]
    return encoder(size, info), decoder(size, info)
