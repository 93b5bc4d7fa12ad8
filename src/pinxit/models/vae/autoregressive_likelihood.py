"""A likelihood p(x|z) whose pixels depend on those before them, by an autoregressive head."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from pinxit.data.batch import DatasetInfo
from pinxit.models.vae.autoregressive_head import AutoregressiveHead
from pinxit.models.vae.config import Config
from pinxit.models.vae.likelihoods import (
    Bernoulli,
    DiscretizedLogistic,
    Gaussian,
    build_likelihood,
)
from pinxit.models.vae.linear_head import LinearHead
from pinxit.nn.image_seeds import draw_uniforms

Features = Float[Tensor, "*batch feature height width"]
Observed = Float[Tensor, "*batch channel height width"]


class Autoregressive(nn.Module):
    """prod_i p(x_i | x_<i, z), each factor a likelihood `pixels` of the channels of one pixel.

    The decoder gives features; the head makes them and the pixels before x_i parameters of it.
    """

    def __init__(
        self, pixels: Bernoulli | DiscretizedLogistic, head: AutoregressiveHead | LinearHead
    ) -> None:
        super().__init__()
        self.pixels, self.head = pixels, head
        self.eight_bit, self.out_channels = pixels.eight_bit, head.num_features

    def observe(
        self, pixels: UInt8[Tensor, "b h w c"], seeds: Sequence[int] | None = None
    ) -> Float[Tensor, "b c h w"]:
        return self.pixels.observe(pixels, seeds)

    def log_prob(self, features: Features, x: Observed) -> Float[Tensor, "*batch"]:
        return self.pixels.log_prob(self.head(features, x), x)

    def to_pixels(self, x: Observed) -> Observed:
        """Return observed images on the scale of `mean`: from 0 to 1."""
        return self.pixels.to_pixels(x)

    def mean(self, features: Float[Tensor, "b f h w"]) -> Float[Tensor, "b c h w"]:
        """The mean of each pixel given the rounded means of those before it; without gradients.

        The mean of p(x|z) itself is that of all images.
        """

        def choose(params: Tensor, row: int, column: int) -> tuple[Tensor, Tensor]:
            mean = self.pixels.mean(params)
            return self.pixels.round(mean), mean

        return self.head.generate(features, choose)

    def sample(
        self, features: Float[Tensor, "b f h w"], seeds: Sequence[int]
    ) -> Float[Tensor, "b c h w"]:
        """Sample images pixel by pixel; each is a function of its own seed and features."""
        shape = (len(features), self.pixels.num_uniforms, *features.shape[-2:])
        u = draw_uniforms(shape, seeds).to(features.device)

        def choose(params: Tensor, row: int, column: int) -> tuple[Tensor, Tensor]:
            at = u[:, :, row, column, None, None]
            x = self.pixels.round(self.pixels.transform(params, at))
            return x, x

        return self.head.generate(features, choose)


DecoderLikelihood = Bernoulli | Gaussian | DiscretizedLogistic | Autoregressive


def build_decoder_likelihood(config: Config, info: DatasetInfo) -> DecoderLikelihood:
    """Return the likelihood of a resolved configuration, with its head."""
    likelihood = build_likelihood(config, info)
    if config.decoder_head == "independent":
        return likelihood
    assert not isinstance(likelihood, Gaussian), "refused by the configuration"
    if config.decoder_head == "linear":
        head = LinearHead(info.channels, info.height, info.width)
        return Autoregressive(likelihood, head)
    return Autoregressive(likelihood, AutoregressiveHead(info.channels, likelihood.out_channels))


def of_pixels(likelihood: DecoderLikelihood) -> Bernoulli | Gaussian | DiscretizedLogistic:
    """Return the likelihood of a single pixel."""
    return likelihood.pixels if isinstance(likelihood, Autoregressive) else likelihood


def sample_likelihood(
    likelihood: DecoderLikelihood, params: Float[Tensor, "b o h w"], seeds: Sequence[int]
) -> Float[Tensor, "b c h w"]:
    """Sample p(x|z); each image is a function of its own seed and parameters."""
    if isinstance(likelihood, Autoregressive):
        return likelihood.sample(params, seeds)
    generator = torch.Generator(params.device)
    images = [
        likelihood.sample(image[None], generator.manual_seed(own))
        for image, own in zip(params, seeds, strict=True)
    ]
    return torch.cat(images)
