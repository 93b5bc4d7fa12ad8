"""p(x given z): each decoder is a proper likelihood, normalised over what it is a likelihood of.

| likelihood           | over                     | observed as                        |
| -------------------- | ------------------------ | ---------------------------------- |
| bernoulli            | pixels of 0 or 1         | binarized images                 |
| gaussian             | densities, dequantized   | (value + u) / 256, u ~ U[0, 1)     |
| discretized-logistic | 8-bit values             | value / 255                        |

All log-probabilities are in nats an image: summed over pixels and channels.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from pinxit.data.batch import DatasetInfo
from pinxit.models.vae.config import Config

Parameters = Float[Tensor, "*batch outputs height width"]
Observed = Float[Tensor, "*batch channel height width"]


class Bernoulli(nn.Module):
    """log p(x) = sum of x l - log(1 + exp l), for logits l (Kingma & Welling 2013, app. C.1)."""

    eight_bit = False  # bits per dimension are those of 8-bit images for the others

    def __init__(self, channels: int, dynamic: bool) -> None:
        super().__init__()
        self.outputs = channels
        self.dynamic = dynamic

    def observe(
        self, pixels: UInt8[Tensor, "b h w c"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "b c h w"]:
        """Each pixel 0 or 1: drawn with its grey value as probability, or cut at one half."""
        x = pixels.permute(0, 3, 1, 2)
        if not self.dynamic:
            return (x >= 128).float()
        u = torch.rand(x.shape, generator=generator, device=x.device)
        return (u * 255 < x).float()

    def log_prob(self, logits: Parameters, x: Observed) -> Float[Tensor, "*batch"]:
        return (x * logits - F.softplus(logits)).flatten(-3).sum(-1)

    def mean(self, logits: Parameters) -> Observed:
        return torch.sigmoid(logits)

    def draw(self, logits: Parameters, generator: torch.Generator | None = None) -> Observed:
        u = torch.rand(logits.shape, generator=generator, device=logits.device)
        return (u < torch.sigmoid(logits)).float()


class Gaussian(nn.Module):
    """N(x; m, sigma^2) with one sigma for all pixels, learned or fixed (Rybkin 2020, sigma-VAE).

    The density of (value + u) / 256, less log 256 a dimension: a lower bound on the
    log-probability of the 8-bit value (Theis 2015, sec. 3.1), so that likelihoods compare.
    """

    eight_bit = True
    PACE = 10.0  # log sigma learns this many times faster: it has far to go in few steps

    def __init__(self, channels: int, sigma: float | None, start: float) -> None:
        super().__init__()
        self.outputs = channels
        raw = torch.tensor(math.log(sigma or start) / self.PACE)
        if sigma is None:
            self.raw = nn.Parameter(raw)
        else:
            self.register_buffer("raw", raw)

    @property
    def sigma(self) -> Float[Tensor, ""]:
        return torch.exp(self.PACE * self.raw)

    def observe(
        self, pixels: UInt8[Tensor, "b h w c"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "b c h w"]:
        x = pixels.permute(0, 3, 1, 2)
        return (x + torch.rand(x.shape, generator=generator, device=x.device)) / 256

    def log_prob(self, m: Parameters, x: Observed) -> Float[Tensor, "*batch"]:
        squares = (x - m).square().flatten(-3)
        constant = 0.5 * math.log(2 * math.pi) + self.sigma.log() + math.log(256)
        return -0.5 * squares.sum(-1) / self.sigma.square() - constant * squares.shape[-1]

    def mean(self, m: Parameters) -> Observed:
        return (m * 256 - 0.5) / 255  # from the dequantized scale back to that of pixels

    def draw(self, m: Parameters, generator: torch.Generator | None = None) -> Observed:
        noise = torch.randn(m.shape, generator=generator, device=m.device)
        return self.mean(m + self.sigma * noise)


class DiscretizedLogistic(nn.Module):
    """A mixture of logistics, integrated over each of 256 values (Salimans 2017, PixelCNN++ eq. 1).

    Channels are independent given z. The first and last value hold the tails, so that the
    probabilities of the 256 values sum to one.
    """

    eight_bit = True

    def __init__(self, channels: int, mixtures: int) -> None:
        super().__init__()
        self.channels = channels
        self.mixtures = mixtures
        self.outputs = 3 * mixtures * channels

    def observe(
        self, pixels: UInt8[Tensor, "b h w c"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "b c h w"]:
        return pixels.permute(0, 3, 1, 2).float() / 255

    def _split(self, parameters: Parameters) -> tuple[Tensor, Tensor, Tensor]:
        """Log-weights, means (scale 0 to 1) and log-scales, each `[*batch, mixture, c, h, w]`."""
        shape = parameters.shape[:-3]
        h, w = parameters.shape[-2:]
        parts = parameters.reshape(*shape, 3, self.mixtures, self.channels, h, w)
        weights, means, scales = parts.unbind(-5)
        spread = torch.linspace(-0.5, 0.5, self.mixtures + 2, device=means.device)[1:-1]
        means = 0.5 + means + spread.view(-1, 1, 1, 1)  # begin apart, not on one another
        return weights.log_softmax(-4), means, (scales - 2).clamp(min=-7)

    def log_prob(self, parameters: Parameters, x: Observed) -> Float[Tensor, "*batch"]:
        weights, means, scales = self._split(parameters)
        x = x.unsqueeze(-4)
        centred, inverse = x - means, torch.exp(-scales)
        upper = inverse * (centred + 0.5 / 255)
        lower = inverse * (centred - 0.5 / 255)
        # log(sigmoid(a) - sigmoid(b)) = a - softplus(a) - softplus(b) + log(1 - exp(b - a)),
        # exact also far in the tails, where the difference of two sigmoids is 0 in fp32
        inside = (
            upper - F.softplus(upper) - F.softplus(lower) + torch.log(-torch.expm1(lower - upper))
        )
        first = upper - F.softplus(upper)  # log sigmoid: all that is below 0.5
        last = -F.softplus(lower)  # log(1 - sigmoid): all that is above 254.5
        log_p = torch.where(x < 0.5 / 255, first, torch.where(x > 254.5 / 255, last, inside))
        return torch.logsumexp(weights + log_p, -4).flatten(-3).sum(-1)

    def mean(self, parameters: Parameters) -> Observed:
        weights, means, _ = self._split(parameters)
        return (weights.exp() * means.clamp(0, 1)).sum(-4)

    def draw(self, parameters: Parameters, generator: torch.Generator | None = None) -> Observed:
        weights, means, scales = self._split(parameters)
        u = torch.rand((2, *means.shape), generator=generator, device=means.device)
        u = u.clamp(1e-6, 1 - 1e-6)
        chosen = (weights - (-u[0].log()).log()).argmax(-4, keepdim=True)  # Gumbel-max
        m, s = means.gather(-4, chosen), scales.gather(-4, chosen).exp()
        logistic = m + s * torch.logit(u[1].gather(-4, chosen))
        return logistic.squeeze(-4).clamp(0, 1)


Likelihood = Bernoulli | Gaussian | DiscretizedLogistic


def likelihood(config: Config, info: DatasetInfo) -> Likelihood:
    """The decoder's likelihood that a resolved configuration names."""
    if config.likelihood == "bernoulli":
        return Bernoulli(info.channels, dynamic=config.binarize == "dynamic")
    if config.likelihood == "gaussian":
        return Gaussian(info.channels, config.sigma, start=max(info.std, 0.02))
    return DiscretizedLogistic(info.channels, config.mixtures)


def describe(config: Config) -> str:
    """What a resolved configuration's likelihood is over, in words."""
    if config.likelihood == "bernoulli" and config.binarize == "dynamic":
        return "bernoulli; each test image binarized once, pixels sampled by their grey value"
    if config.likelihood == "bernoulli":
        return "bernoulli; pixels binarized at one half"
    if config.likelihood == "gaussian":
        return "gaussian; density of (value + u) / 256, minus log 256 per dimension: 8-bit values"
    return f"{config.likelihood}; 8-bit values"
