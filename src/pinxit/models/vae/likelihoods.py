"""p(x|z): the likelihoods of the decoder, each normalized over the values it is defined on.

| likelihood           | defined on               | x                                  |
| -------------------- | ------------------------ | ---------------------------------- |
| bernoulli            | binary pixels            | 0 or 1                             |
| gaussian             | dequantized values       | (value + u) / 256, u ~ U[0, 1)     |
| discretized-logistic | 8-bit values             | value / 255                        |

All log-probabilities are in nats per image: summed over pixels and channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from pinxit.data.batch import DatasetInfo
from pinxit.models.vae.config import Config
from pinxit.nn.batch_share import batch_rand
from pinxit.nn.image_seeds import draw_uniforms

Params = Float[Tensor, "*batch out_channels height width"]
Observed = Float[Tensor, "*batch channel height width"]


def _uniforms(
    pixels: UInt8[Tensor, "b h w c"], seeds: Sequence[int] | None
) -> Float[Tensor, "b c h w"]:
    """Uniform numbers of [0, 1), one per value; with `seeds` those of an image are its own."""
    if seeds is None:
        n, height, width, channels = pixels.shape
        return batch_rand(n, channels, height, width, device=pixels.device)
    return draw_uniforms(pixels.shape, seeds).permute(0, 3, 1, 2).to(pixels.device)


class Bernoulli(nn.Module):
    """log p(x) = sum x l - log(1 + exp l), for logits l (Kingma & Welling 2013, app. C.1)."""

    eight_bit = False  # not over 8-bit values: bits per dimension are undefined

    def __init__(self, channels: int, dynamic: bool) -> None:
        super().__init__()
        self.out_channels = channels
        self.dynamic = dynamic

    def observe(
        self, pixels: UInt8[Tensor, "b h w c"], seeds: Sequence[int] | None = None
    ) -> Float[Tensor, "b c h w"]:
        """Binarize: sample each pixel with its grey value as probability, or threshold at 1/2."""
        x = pixels.permute(0, 3, 1, 2)
        if not self.dynamic:
            return (x >= 128).float()
        return (_uniforms(pixels, seeds) * 255 < x).float()

    def log_prob(self, logits: Params, x: Observed) -> Float[Tensor, "*batch"]:
        return (x * logits - F.softplus(logits)).flatten(-3).sum(-1)

    def to_pixels(self, x: Observed) -> Observed:
        """Return observed images on the scale of `mean`: from 0 to 1."""
        return x

    def mean(self, logits: Params) -> Observed:
        return torch.sigmoid(logits)

    def sample(self, logits: Params, generator: torch.Generator | None = None) -> Observed:
        u = torch.rand(logits.shape, generator=generator, device=logits.device)
        return self.transform(logits, u)

    @property
    def num_uniforms(self) -> int:
        """Uniform numbers that a pixel is a function of."""
        return self.out_channels

    def transform(self, logits: Params, u: Float[Tensor, "*batch uniform h w"]) -> Observed:
        """Make a sample of uniform numbers from 0 to 1."""
        return (u < torch.sigmoid(logits)).float()

    def round(self, x: Observed) -> Observed:
        """Return the nearest values that pixels have."""
        return (x > 0.5).float()


class Gaussian(nn.Module):
    """N(x; m, sigma^2) with one sigma for all pixels, learned or fixed (sigma-VAE, Rybkin 2020).

    The log-density of (value + u) / 256, minus log 256 per dimension: a lower bound on the
    log-probability of the 8-bit value (Theis 2015, sec. 3.1), comparable with other likelihoods.

    With an analytic `variance` sigma^2 is the mean of (x - m)^2, its best value given m (Rybkin
    2020): of the batch in training, and a running mean over batches afterwards.
    """

    eight_bit = True
    LR_SCALE = 10.0  # learning rate factor of log sigma, which has far to go
    UPDATE = 0.02  # weight of a batch in the running mean of the variance
    MIN_VARIANCE = 1 / (12 * 256**2)  # of the noise that `observe` adds

    running_variance: Tensor
    num_updates: Tensor

    def __init__(
        self,
        channels: int,
        sigma: float | None,
        init_sigma: float,
        variance: str = "learned",
        size: tuple[int, int] = (1, 1),
    ) -> None:
        super().__init__()
        self.out_channels, self.variance = channels, variance
        if variance != "learned":
            shape = (channels, *size) if variance == "per-pixel" else ()
            self.register_buffer("running_variance", torch.full(shape, init_sigma**2))
            self.register_buffer("num_updates", torch.zeros(()))
            return
        log_sigma_scaled = torch.tensor(math.log(sigma or init_sigma) / self.LR_SCALE)
        if sigma is None:
            self.log_sigma_scaled = nn.Parameter(log_sigma_scaled)
        else:
            self.register_buffer("log_sigma_scaled", log_sigma_scaled)

    @property
    def sigma(self) -> Float[Tensor, "*shape"]:
        """Standard deviation, on the scale 0 to 1; `[channel, height, width]` if per pixel."""
        if self.variance != "learned":
            return self.running_variance.sqrt()
        return torch.exp(self.LR_SCALE * self.log_sigma_scaled)

    @property
    def mean_sigma(self) -> float:
        """One standard deviation for all pixels: the square root of the mean variance."""
        return float(self.sigma.detach().square().mean().sqrt())

    @property
    def sigma_per_pixel(self) -> np.ndarray | None:
        """`sigma` of each value, `[height, width, channel]`; None if all have one."""
        sigma = self.sigma.detach()
        return sigma.permute(1, 2, 0).cpu().numpy() if sigma.ndim else None

    @torch.no_grad()
    def update(
        self, m: Params, x: Observed, *, is_recorded: bool = True
    ) -> Float[Tensor, "*shape"] | None:
        """Return the sigma to train a batch with, None: `sigma`; errors enter the running mean.

        Those that are not to be recorded do not.
        """
        if self.variance == "learned":
            return None
        squares = (x - m).square().flatten(0, -4)
        of_batch = squares.mean(0) if self.variance == "per-pixel" else squares.mean()
        of_batch = of_batch.clamp(min=self.MIN_VARIANCE)
        # where it is not finite, the update is going to be skipped
        if not is_recorded or not bool(of_batch.isfinite().all()):
            return of_batch.sqrt()
        self.num_updates += 1
        weight = (1 / self.num_updates).clamp(min=self.UPDATE)
        self.running_variance.lerp_(of_batch, weight.to(of_batch))
        return of_batch.sqrt()

    def observe(
        self, pixels: UInt8[Tensor, "b h w c"], seeds: Sequence[int] | None = None
    ) -> Float[Tensor, "b c h w"]:
        x = pixels.permute(0, 3, 1, 2)
        return (x + _uniforms(pixels, seeds)) / 256

    def log_prob(
        self, m: Params, x: Observed, sigma: Float[Tensor, "*shape"] | None = None
    ) -> Float[Tensor, "*batch"]:
        sigma = self.sigma if sigma is None else sigma
        constant = 0.5 * math.log(2 * math.pi) + math.log(256)
        if sigma.ndim:
            log_p = -0.5 * ((x - m) / sigma).square() - sigma.log() - constant
            return log_p.flatten(-3).sum(-1)
        squares = (x - m).square().flatten(-3)
        constant = constant + sigma.log()
        return -0.5 * squares.sum(-1) / sigma.square() - constant * squares.shape[-1]

    def to_pixels(self, x: Observed) -> Observed:
        """Return observed images on the scale of `mean`: from 0 to 1."""
        return self.mean(x)

    def mean(self, m: Params) -> Observed:
        return (m * 256 - 0.5) / 255  # from the dequantized scale to that of pixels

    def sample(self, m: Params, generator: torch.Generator | None = None) -> Observed:
        noise = torch.randn(m.shape, generator=generator, device=m.device)
        return self.mean(m + self.sigma * noise)


class Mixture(NamedTuple):
    """The components of a mixture of logistics, `[*batch, channel, mixture, h, w]`."""

    log_weights: Tensor  # of no channel: `[*batch, mixture, h, w]`
    means: Tensor  # from 0 to 1; given that the channels before are 1/2
    log_scales: Tensor
    coefs: Tensor  # of channel 1 on 0, of 2 on 0 and on 1

    def mean_given(self, c: int, before: Tensor | None) -> Float[Tensor, "*batch mixture h w"]:
        """Return the means of channel c given the channels before it."""
        mean, first = self.means[..., c, :, :, :], c * (c - 1) // 2
        for j in range(c):
            assert before is not None, "a channel after the first"
            coef = self.coefs[..., first + j, :, :, :]
            mean = mean + coef * (before[..., j, :, :, :] - 0.5)
        return mean

    def select(self, chosen: Int64[Tensor, "*batch one h w"]) -> Mixture:
        """Return the mixture of one component of each pixel."""
        return Mixture(
            self.log_weights.gather(-3, chosen), *(select_of_each(p, chosen) for p in self[1:])
        )


def select_of_each(
    values: Float[Tensor, "*batch channel mixture h w"], chosen: Int64[Tensor, "*batch one h w"]
) -> Float[Tensor, "*batch channel one h w"]:
    """Return the values of one component of each pixel, the same for all channels."""
    index = chosen.unsqueeze(-4)
    return values.gather(-3, index.expand(*values.shape[:-3], *index.shape[-3:]))


class DiscretizedLogistic(nn.Module):
    """A mixture of logistics, integrated over each 8-bit value's bin (PixelCNN++, Salimans 2017).

    Their eq. 1 to 3: the channels of a pixel share the weights of the mixture, and the mean of each
    is linear in the channels before it,

        m_c(x) = m_c + sum_j<c tanh(k_cj) (x_j - 1/2),   j and c red, green, blue.

    The bins of 0 and 255 include the tails, so that the probabilities of the 256 values sum to one.
    """

    eight_bit = True

    def __init__(self, channels: int, num_mixtures: int) -> None:
        super().__init__()
        self.channels = channels
        self.num_mixtures = num_mixtures
        # a weight, and of each channel a mean, a scale and a coefficient per channel before it
        self.sizes = (1, channels, channels, channels * (channels - 1) // 2)
        self.out_channels = sum(self.sizes) * num_mixtures

    def observe(
        self, pixels: UInt8[Tensor, "b h w c"], seeds: Sequence[int] | None = None
    ) -> Float[Tensor, "b c h w"]:
        return pixels.permute(0, 3, 1, 2).float() / 255

    def _split(self, params: Params) -> Mixture:
        parts = params.unflatten(-3, (sum(self.sizes), self.num_mixtures))
        weights, means, log_scales, coefs = parts.split(self.sizes, -4)
        spread = torch.linspace(-0.5, 0.5, self.num_mixtures + 2, device=means.device)[1:-1]
        means = 0.5 + means + spread.view(-1, 1, 1)  # the components start apart
        scales = (log_scales - 2).clamp(min=-7)
        return Mixture(weights.squeeze(-4).log_softmax(-3), means, scales, coefs.tanh())

    def log_prob(self, params: Params, x: Observed) -> Float[Tensor, "*batch"]:
        mixture = self._split(params)
        x = x.unsqueeze(-3)
        means = torch.broadcast_tensors(*(mixture.mean_given(c, x) for c in range(self.channels)))
        centered, inverse_scale = x - torch.stack(means, -4), torch.exp(-mixture.log_scales)
        upper = inverse_scale * (centered + 0.5 / 255)
        lower = inverse_scale * (centered - 0.5 / 255)
        # log(sigmoid(a) - sigmoid(b)) = a - softplus(a) - softplus(b) + log(1 - exp(b - a)),
        # exact far in the tails too, where the difference of the sigmoids is 0 in fp32
        inside = (
            upper - F.softplus(upper) - F.softplus(lower) + torch.log(-torch.expm1(lower - upper))
        )
        below = upper - F.softplus(upper)  # log sigmoid(upper): everything below 0.5
        above = -F.softplus(lower)  # log(1 - sigmoid(lower)): everything above 254.5
        log_p = torch.where(x < 0.5 / 255, below, torch.where(x > 254.5 / 255, above, inside))
        return torch.logsumexp(mixture.log_weights + log_p.sum(-4), -3).flatten(-2).sum(-1)

    def to_pixels(self, x: Observed) -> Observed:
        """Return observed images on the scale of `mean`: from 0 to 1."""
        return x

    def mean(self, params: Params) -> Observed:
        """The mean of the logistics clipped to [0, 1]: their tails count as black and white.

        Of a channel after the first, given the means of those before it in the same component.
        """
        mixture, means = self._split(params), []
        for c in range(self.channels):
            given = mixture.mean_given(c, torch.stack(means, -4) if means else None)
            means.append(mean_of_clipped_logistic(given, mixture.log_scales[..., c, :, :, :]))
        return (mixture.log_weights.exp().unsqueeze(-4) * torch.stack(means, -4)).sum(-3)

    def sample(self, params: Params, generator: torch.Generator | None = None) -> Observed:
        *batch, _, height, width = params.shape
        shape = (1 + self.channels, *batch, self.num_mixtures, height, width)
        u = torch.rand(shape, generator=generator, device=params.device)
        return self.transform(params, u.movedim(0, -4).flatten(-4, -3))

    @property
    def num_uniforms(self) -> int:
        """Uniform numbers that a pixel is a function of."""
        return (1 + self.channels) * self.num_mixtures

    def transform(self, params: Params, u: Float[Tensor, "*batch uniform h w"]) -> Observed:
        """Make a sample of uniform numbers from 0 to 1; between the values that pixels have."""
        uniforms = u.clamp(1e-6, 1 - 1e-6).unflatten(-3, (1 + self.channels, self.num_mixtures))
        gumbel, logistic = uniforms[..., 0, :, :, :], uniforms[..., 1:, :, :, :]
        mixture = self._split(params)
        gumbel_max = mixture.log_weights - (-gumbel.log()).log()
        chosen = gumbel_max.argmax(-3, keepdim=True)
        component = mixture.select(chosen)
        noise = torch.logit(select_of_each(logistic, chosen))
        values: list[Tensor] = []
        for c in range(self.channels):
            seen = [self.round(value) for value in values]  # as in `log_prob`: 8-bit values
            mean = component.mean_given(c, torch.stack(seen, -4) if seen else None)
            scale = component.log_scales[..., c, :, :, :].exp()
            values.append((mean + scale * noise[..., c, :, :, :]).clamp(0, 1))
        return torch.stack(values, -4).squeeze(-3)

    def round(self, x: Observed) -> Observed:
        """Return the nearest values that pixels have."""
        return (255 * x).round() / 255


def mean_of_clipped_logistic(m: Tensor, log_scale: Tensor) -> Tensor:
    """E clip(X, 0, 1) of a logistic X: the integral of P(X > t) over t from 0 to 1,

        s softplus(m / s) - s softplus((m - 1) / s).

    With softplus(x) = max(x, 0) + softplus(-|x|) it is clip(m, 0, 1) plus the difference of two
    softplus below log 2, whose digits log1p and expm1 keep for the smallest and the largest s.
    """
    s = log_scale.exp()
    to_black, to_white = m.abs() / s, (m - 1).abs() / s
    nearer, gap = torch.minimum(to_black, to_white), (to_white - to_black).abs()
    correction = -s * torch.log1p(torch.sigmoid(-nearer) * torch.expm1(-gap))
    return m.clamp(0, 1) + torch.where(to_black < to_white, correction, -correction)


Likelihood = Bernoulli | Gaussian | DiscretizedLogistic


def build_likelihood(config: Config, info: DatasetInfo) -> Likelihood:
    """Return the likelihood of a resolved configuration."""
    if config.likelihood == "bernoulli":
        return Bernoulli(info.channels, dynamic=config.binarize == "dynamic")
    if config.likelihood == "gaussian":
        size = (info.height, info.width)
        return Gaussian(info.channels, config.sigma, max(info.std, 0.02), config.variance, size)
    return DiscretizedLogistic(info.channels, config.mixtures)


def describe_likelihood(config: Config) -> str:
    """Say which likelihood a resolved configuration has, and over which values."""
    has_head = config.decoder_head != "independent"
    head = f", {config.decoder_head} head" if has_head else ""
    if config.likelihood == "bernoulli" and config.binarize == "dynamic":
        return (
            f"bernoulli{head}; each test image binarized once, pixels sampled by their grey value"
        )
    if config.likelihood == "bernoulli":
        return f"bernoulli{head}; pixels binarized at one half"
    if config.likelihood == "gaussian":
        return "gaussian; density of (value + u) / 256, minus log 256 per dimension: 8-bit values"
    return f"{config.likelihood}{head}; 8-bit values"
