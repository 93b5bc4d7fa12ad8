"""Encoder and decoder networks of the VAE: image to vector, vector to image.

An encoder maps x `[batch, channel, height, width]` to mean and log-variance `[batch, 2 * latent]`,
a decoder maps z `[batch, latent]` to `[batch, out_channels, height, width]`.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from pinxit.data.batch import DatasetInfo
from pinxit.models.vae.config import Config
from pinxit.models.vae.grid_networks import GridDecoder, GridEncoder, LatentGrid, ladder_levels
from pinxit.models.vae.ladder_networks import LadderDecoder, LadderEncoder
from pinxit.models.vae.posteriors import encoder_latents
from pinxit.models.vae.pyramid import ResolutionPyramid
from pinxit.models.vae.von_mises_fisher import OnSphere
from pinxit.nn.layers import (
    FoldPixels,
    LabelEmbedding,
    ResidualConv,
    ResidualLinear,
    channels_last,
)

Labels = Int64[Tensor, " batch"] | None


@dataclass(frozen=True)
class NetworkSize:
    """Sizes that encoder and decoder share."""

    latent_dim: int
    width: int
    depth: int
    out_channels: int  # likelihood parameters per pixel
    num_classes: int  # 0: no label conditioning

    def label_embedding(self, width: int) -> LabelEmbedding | None:
        return LabelEmbedding(self.num_classes, width) if self.num_classes else None


class MLPEncoder(nn.Module):
    """Flatten, one wide layer, residual blocks."""

    compile_unit = "on"

    def __init__(self, size: NetworkSize, info: DatasetInfo) -> None:
        super().__init__()
        self.in_proj = nn.Linear(info.dims, size.width)
        self.label_embed = size.label_embedding(size.width)
        self.blocks = nn.Sequential(*(ResidualLinear(size.width) for _ in range(size.depth)))
        self.out_proj = nn.Linear(size.width, 2 * size.latent_dim)

    def forward(self, x: Float[Tensor, "b c h w"], labels: Labels) -> Float[Tensor, "b two_latent"]:
        h = self.in_proj(x.flatten(1))
        if self.label_embed is not None:
            h = h + self.label_embed(labels, h.shape[0])
        return self.out_proj(F.silu(self.blocks(h)))


class MLPDecoder(nn.Module):
    """The mirror image of `MLPEncoder`."""

    compile_unit = "on"

    def __init__(self, size: NetworkSize, info: DatasetInfo) -> None:
        super().__init__()
        self.shape = (size.out_channels, info.height, info.width)
        self.in_proj = nn.Linear(size.latent_dim, size.width)
        self.label_embed = size.label_embedding(size.width)
        self.blocks = nn.Sequential(*(ResidualLinear(size.width) for _ in range(size.depth)))
        self.out_proj = nn.Linear(size.width, math.prod(self.shape))

    def forward_hidden(
        self, z: Float[Tensor, "b latent"], labels: Labels
    ) -> Float[Tensor, "b width"]:
        """Run all layers but the last, which is one matrix product."""
        h = self.in_proj(z)
        if self.label_embed is not None:
            h = h + self.label_embed(labels, h.shape[0])
        return F.silu(self.blocks(h))

    def forward(self, z: Float[Tensor, "b latent"], labels: Labels) -> Float[Tensor, "b o h w"]:
        return self.out_proj(self.forward_hidden(z, labels)).unflatten(1, self.shape)


class LinearEncoder(nn.Module):
    """mu(x) = W x + b, and one log-variance per latent for all images: all that PPCA needs."""

    def __init__(self, size: NetworkSize, info: DatasetInfo) -> None:
        super().__init__()
        self.mean = nn.Linear(info.dims, size.latent_dim)
        self.logvar = nn.Parameter(torch.zeros(size.latent_dim))

    def forward(self, x: Float[Tensor, "b c h w"], labels: Labels) -> Float[Tensor, "b two_latent"]:
        mean = self.mean(x.flatten(1))
        return torch.cat([mean, self.logvar.expand_as(mean)], 1)


class LinearDecoder(nn.Module):
    """m(z) = W z + b. With a Gaussian of one variance: probabilistic PCA (Lucas 2019)."""

    def __init__(self, size: NetworkSize, info: DatasetInfo) -> None:
        super().__init__()
        self.shape = (size.out_channels, info.height, info.width)
        self.out_proj = nn.Linear(size.latent_dim, math.prod(self.shape))

    def forward(self, z: Float[Tensor, "b latent"], labels: Labels) -> Float[Tensor, "b o h w"]:
        return self.out_proj(z).unflatten(1, self.shape)


class ConvEncoder(nn.Module):
    """At each level: space-to-depth, a 1 x 1 convolution, and residual 3 x 3 blocks."""

    compile_unit = "on"

    def __init__(self, size: NetworkSize, info: DatasetInfo) -> None:
        super().__init__()
        pyramid = ResolutionPyramid(size.width, info)
        self.padding = pyramid.padding
        in_channels, layers = info.channels, []
        for channels in pyramid.channels:
            layers += [FoldPixels(2), nn.Conv2d(4 * in_channels, channels, 1)]
            layers += [ResidualConv(channels) for _ in range(size.depth)]
            in_channels = channels
        self.blocks = nn.Sequential(*layers)
        self.label_embed = size.label_embedding(in_channels)
        self.out_proj = nn.Linear(pyramid.num_features, 2 * size.latent_dim)

    def forward(self, x: Float[Tensor, "b c h w"], labels: Labels) -> Float[Tensor, "b two_latent"]:
        if any(self.padding):
            x = F.pad(x, (0, self.padding[0], 0, self.padding[1]), mode="replicate")
        h = self.blocks(x)
        if self.label_embed is not None:
            h = h + self.label_embed(labels, h.shape[0])[:, :, None, None]
        return self.out_proj(F.silu(h).flatten(1))


class ConvDecoder(nn.Module):
    """At each level: residual 3 x 3 blocks, a 1 x 1 convolution, and depth-to-space."""

    compile_unit = "on"

    def __init__(self, size: NetworkSize, info: DatasetInfo) -> None:
        super().__init__()
        pyramid = ResolutionPyramid(size.width, info)
        self.crop = (info.height, info.width)
        self.shape = (pyramid.channels[-1], pyramid.height, pyramid.width)
        self.in_proj = nn.Linear(size.latent_dim, pyramid.num_features)
        self.label_embed = size.label_embedding(pyramid.channels[-1])
        layers: list[nn.Module] = []
        out_channels = [size.out_channels, *pyramid.channels[:-1]]
        for channels, finer in zip(pyramid.channels[::-1], out_channels[::-1], strict=True):
            layers += [ResidualConv(channels) for _ in range(size.depth)]
            layers += [nn.SiLU(), nn.Conv2d(channels, 4 * finer, 1), nn.PixelShuffle(2)]
        self.blocks = nn.Sequential(*layers)

    def forward(self, z: Float[Tensor, "b latent"], labels: Labels) -> Float[Tensor, "b o h w"]:
        h = channels_last(self.in_proj(z).unflatten(1, self.shape))
        if self.label_embed is not None:
            h = h + self.label_embed(labels, h.shape[0])[:, :, None, None]
        return self.blocks(h)[..., : self.crop[0], : self.crop[1]]


def build_networks(
    config: Config, info: DatasetInfo, out_channels: int
) -> tuple[nn.Module, nn.Module]:
    """Return the encoder and the decoder of a resolved configuration."""
    assert config.width and config.depth, "a resolved configuration"
    num_classes = len(info.label_names) if config.condition == "label" else 0
    if config.latents == "grid":
        grid, shape = LatentGrid.of_config(config, info), (config.width, config.depth)
        decoder = GridDecoder(grid, info, *shape, out_channels, num_classes)
        return GridEncoder(grid, info, *shape, num_classes), decoder
    assert config.latent_dim, "a resolved configuration"
    if config.latents == "ladder":
        shape = (config.width, config.depth)
        ladder = LadderDecoder(ladder_levels(config, info), info, *shape, out_channels, num_classes)
        return LadderEncoder(ladder, info, *shape, num_classes), ladder
    size = NetworkSize(config.latent_dim, config.width, config.depth, out_channels, num_classes)
    encoder, decoder = {
        "linear": (LinearEncoder, LinearDecoder),
        "mlp": (MLPEncoder, MLPDecoder),
        "conv": (ConvEncoder, ConvDecoder),
    }[config.network]
    # of some posteriors the encoder says more than two values of each latent
    own = dataclasses.replace(size, latent_dim=encoder_latents(config, config.latent_dim))
    built = decoder(size, info)
    return encoder(own, info), OnSphere(built) if config.posterior == "vmf" else built
