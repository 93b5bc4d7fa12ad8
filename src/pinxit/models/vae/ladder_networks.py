"""A ladder of latents from coarse to fine (Ladder VAE, Sonderby 2016; VDVAE, Child 2021).

    p(z) = p(z_1) prod_l p(z_l | z_<l),    q(z|x) = q(z_1|x) prod_l q(z_l | z_<l, x)

z_1 is a vector with p(z_1) = N(0, I), z_2 and so on are grids, each of twice the resolution of the
one before. All conditionals are diagonal Gaussians. Prior and posterior share the top-down path: a
level depends on the coarser ones through the decoder's features h, and its posterior on the image
through features of the same resolution of a residual bottom-up encoder.

Outside this file the latents of an image are u `[batch, latent]`, the noise of all levels:

    z_l = mu_l(z_<l) + sigma_l(z_<l) u_l

In u the prior is N(0, I), and KL(q(z_l | z_<l, x) || p(z_l | z_<l)) is that of a Gaussian to
N(0, I). A ladder of one level is the VAE of `ConvEncoder` and `ConvDecoder`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from pinxit.data.batch import DatasetInfo
from pinxit.models.vae.pyramid import LevelShape, ResolutionPyramid
from pinxit.nn.layers import (
    FoldPixels,
    LabelEmbedding,
    ResidualConv,
    SharedModule,
    channels_last,
    zero_init,
)

Labels = Int64[Tensor, " batch"] | None
Maps = Float[Tensor, "batch channel row column"]
Latents = Float[Tensor, "batch latent"]
# of a level: its number, the features that it sees, mean and log-variance of its prior; returns u_l
Choose = Callable[[int, Maps | None, Maps, Maps], Maps]

MAX_PRIOR_LOGVAR = 4.0  # sigma_l from 0.14 to 7.4: z_l is rescaled by what reads it
MIN_LOGVAR, MAX_LOGVAR = -12.0, 8.0  # of q in u: exp stays finite


class Features(NamedTuple):
    """What the encoder sees of an image, for the posterior of each level."""

    first: Float[Tensor, "batch two_latent"]  # mean and log-variance of q(z_1|x)
    maps: list[Maps]  # of the other levels

    def repeat(self, count: int) -> Features:
        """Return those of each image `count` times, one after another."""
        if count == 1:
            return self
        maps = [part.repeat_interleave(count, 0) for part in self.maps]
        return Features(self.first.repeat_interleave(count, 0), maps)


class Inferred(NamedTuple):
    """u ~ q(u|x): mean and log-variance of each level given the coarser ones; the decoded image."""

    u: Latents
    mean: Latents
    logvar: Latents
    decoded: Float[Tensor, "batch out height width"]


class ConditionalGaussian(nn.Module):
    """Mean and log-variance of each latent of a level, and what else is read from the features.

    A bottleneck (Child 2021, fig. 3): half of the cost of a step would else be here.
    """

    fsdp_unit = True  # nothing outside uses its parameters

    def __init__(self, inputs: int, channels: int, outputs: int) -> None:
        super().__init__()
        self.in_proj = nn.Conv2d(inputs, channels, 1)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, outputs, 1)

    def forward(self, h: Maps) -> Maps:
        return self.conv2(F.silu(self.conv1(F.silu(self.in_proj(F.silu(h))))))


class TopDownStage(nn.Module):
    """The part of the decoder at one resolution, and the prior of its latents, if it has any."""

    def __init__(
        self, coarser: int | None, channels: int, latent_channels: int | None, depth: int
    ) -> None:
        super().__init__()
        self.channel_proj = None if coarser is None else nn.Conv2d(coarser, channels, 1)
        self.latent_channels = latent_channels
        if latent_channels is not None:
            outputs = 2 * latent_channels + channels
            self.prior = ConditionalGaussian(channels, max(8, channels // 2), outputs)
            zero_init(self.prior.conv2)  # p(z_l | z_<l) starts as N(0, I)
            self.in_proj = nn.Conv2d(latent_channels, channels, 1)
        self.blocks = nn.Sequential(*(ResidualConv(channels) for _ in range(depth)))

    def upsample(self, h: Maps) -> Maps:
        """Upsample coarser features to this resolution, by nearest neighbor."""
        if self.channel_proj is None:
            return h
        return F.interpolate(self.channel_proj(F.silu(h)), scale_factor=2.0, mode="nearest")

    def split_prior(self, h: Maps) -> tuple[Maps, Maps, Maps]:
        """Return mean and log-variance of p(z_l | z_<l), and h with what the prior adds to it."""
        assert self.latent_channels is not None, "a level of latents"
        sizes = [self.latent_channels, self.latent_channels, h.shape[1]]
        mean, logvar, features = self.prior(h).split(sizes, 1)
        bounded = MAX_PRIOR_LOGVAR * torch.tanh(logvar.float() / MAX_PRIOR_LOGVAR)
        return mean.float(), bounded, h + features


class LadderDecoder(nn.Module):
    """From coarse to fine: the latents of each level enter where their resolution is reached."""

    def __init__(
        self,
        levels: tuple[LevelShape, ...],
        info: DatasetInfo,
        width: int,
        depth: int,
        out_channels: int,
        num_classes: int,
    ) -> None:
        super().__init__()
        pyramid = ResolutionPyramid(width, info)
        channels = pyramid.channels[::-1]
        self.levels, self.crop = levels, (info.height, info.width)
        self.shape = (channels[0], pyramid.height, pyramid.width)
        self.in_proj = nn.Linear(levels[0][0], pyramid.num_features)
        self.label_embed = LabelEmbedding(num_classes, channels[0]) if num_classes else None
        latent_channels = [shape[0] for shape in levels[1:]]
        latents = [*latent_channels, *[None] * (len(channels) - len(latent_channels))]
        self.stages = nn.ModuleList(
            TopDownStage(coarser, own, latent, depth)
            for coarser, own, latent in zip([None, *channels[:-1]], channels, latents, strict=True)
        )
        self.out_proj = nn.Conv2d(channels[-1], 4 * out_channels, 1)
        scale_residual_blocks(self)

    @property
    def sizes(self) -> list[int]:
        """Number of latents of each level."""
        return [math.prod(shape) for shape in self.levels]

    def split(self, u: Latents) -> list[Maps]:
        """Return the latents of each level, `[batch, channel, row, column]`."""
        parts = u.split(self.sizes, 1)
        return [part.unflatten(1, shape) for part, shape in zip(parts, self.levels, strict=True)]

    def forward(self, u: Latents, labels: Labels) -> Float[Tensor, "batch out height width"]:
        """Return likelihood parameters of images with latents u."""
        parts = self.split(u)
        return self.decode_top_down(u.shape[0], labels, lambda level, h, mean, logvar: parts[level])

    def decode_top_down(
        self, batch: int, labels: Labels, choose: Choose
    ) -> Float[Tensor, "batch out height width"]:
        """Run all levels; `choose` returns the u of each."""
        zeros = self.in_proj.weight.new_zeros(batch, *self.levels[0])
        h = self.in_proj(choose(0, None, zeros, zeros).flatten(1))
        h = channels_last(h.unflatten(1, self.shape))
        if self.label_embed is not None:
            h = h + self.label_embed(labels, batch)[:, :, None, None]
        for number, stage in enumerate(self.stages, 1):
            assert isinstance(stage, TopDownStage)
            h = stage.upsample(h)
            if stage.latent_channels is not None:
                mean, logvar, seen = stage.split_prior(h)
                z = mean + (0.5 * logvar).exp() * choose(number, h, mean, logvar)
                h = seen + stage.in_proj(z)
            h = stage.blocks(h)
        out = F.pixel_shuffle(self.out_proj(F.silu(h)), 2)
        return out[..., : self.crop[0], : self.crop[1]]


class LadderEncoder(nn.Module):
    """A residual network from fine to coarse, and the posterior of each level.

    `forward` returns mean and log-variance of q(u_l | u_<l, x), each level given the means of the
    coarser ones; `infer` those given samples.
    """

    def __init__(
        self, decoder: LadderDecoder, info: DatasetInfo, width: int, depth: int, num_classes: int
    ) -> None:
        super().__init__()
        pyramid = ResolutionPyramid(width, info)
        self.padding, self.decoder = pyramid.padding, SharedModule(decoder)
        self.stages = nn.ModuleList(
            nn.Sequential(
                FoldPixels(2),
                nn.Conv2d(4 * finer, channels, 1),
                *(ResidualConv(channels) for _ in range(depth)),
            )
            for finer, channels in pairwise([info.channels, *pyramid.channels])
        )
        coarsest = pyramid.channels[-1]
        self.label_embed = LabelEmbedding(num_classes, coarsest) if num_classes else None
        first, *others = decoder.levels
        self.out_proj = nn.Linear(pyramid.num_features, 2 * first[0])
        scale_residual_blocks(self)
        self.posteriors = nn.ModuleList(
            ConditionalGaussian(2 * channels, max(8, channels // 2), 2 * shape[0])
            for channels, shape in zip(pyramid.channels[::-1], others, strict=False)
        )

    def features(self, x: Float[Tensor, "b c h w"], labels: Labels) -> Features:
        """Return what the posterior of each level sees of the images."""
        if any(self.padding):
            x = F.pad(x, (0, self.padding[0], 0, self.padding[1]), mode="replicate")
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        if self.label_embed is not None:
            x = x + self.label_embed(labels, x.shape[0])[:, :, None, None]
        first = self.out_proj(F.silu(x).flatten(1))
        return Features(first, maps[::-1][: len(self.posteriors)])

    def forward(self, x: Float[Tensor, "b c h w"], labels: Labels) -> Float[Tensor, "b two_latent"]:
        noise = x.new_zeros(x.shape[0], sum(self.decoder.module.sizes))
        inferred = self.infer(self.features(x, labels), labels, noise)
        return torch.cat([inferred.mean, inferred.logvar], 1)

    def infer(
        self, features: Features, labels: Labels, noise: Latents, given: Latents | None = None
    ) -> Inferred:
        """Draw u from q(u|x) with standard normal noise, or compute that q of a `given` u.

        Features and labels have one row for each of noise.
        """
        decoder = self.decoder.module
        noises = decoder.split(noise)
        givens = None if given is None else decoder.split(given)
        means, logvars, parts = [], [], []

        def choose(level: int, h: Maps | None, prior_mean: Maps, prior_logvar: Maps) -> Maps:
            mean, logvar = self._posterior(level, h, features, prior_mean, prior_logvar)
            u = mean + (0.5 * logvar).exp() * noises[level] if givens is None else givens[level]
            means.append(mean.flatten(1))
            logvars.append(logvar.flatten(1))
            parts.append(u.flatten(1))
            return u

        decoded = decoder.decode_top_down(noise.shape[0], labels, choose)
        return Inferred(torch.cat(parts, 1), torch.cat(means, 1), torch.cat(logvars, 1), decoded)

    def _posterior(
        self, level: int, h: Maps | None, features: Features, prior_mean: Maps, prior_logvar: Maps
    ) -> tuple[Maps, Maps]:
        """Return mean and log-variance of q(u_l | u_<l, x)."""
        if h is None:
            mean, logvar = features.first.float().unflatten(1, (-1, 1, 1)).chunk(2, 1)
            return mean, logvar.clamp(MIN_LOGVAR, MAX_LOGVAR)
        maps = torch.cat([h, features.maps[level - 1]], 1)
        mean, logvar = self.posteriors[level - 1](maps).float().chunk(2, 1)
        mean = (mean - prior_mean) * (-0.5 * prior_logvar).exp()
        return mean, (logvar - prior_logvar).clamp(MIN_LOGVAR, MAX_LOGVAR)


@torch.no_grad()
def scale_residual_blocks(network: nn.Module) -> None:
    """Divide the last weights of N residual blocks by sqrt(N) (Child 2021, sec. 3.3).

    The variance of the features then hardly grows with the depth.
    """
    blocks = [module for module in network.modules() if isinstance(module, ResidualConv)]
    for block in blocks:
        block.conv2.reset_parameters()
        block.conv2.weight.mul_(1 / math.sqrt(len(blocks)))
        if block.conv2.bias is not None:
            nn.init.zeros_(block.conv2.bias)
