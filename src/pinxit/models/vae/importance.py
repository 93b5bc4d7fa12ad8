"""Importance weights of a Bernoulli decoder, with little besides its matrix products.

The weights are those of `VAE.log_weights`. What is done otherwise, for one image x at a time:

- 1 - 2x is multiplied into the last layer, so that it gives margins m = (1 - 2x) l of the logits
  l: log p(x given z) = -sum of log(1 + exp(m)), in which nothing large cancels;
- log2 e is multiplied into it as well: exp2 is twice as fast as exp;
- the logarithm is taken of products of many 1 + 2^m rather than of each; a sample whose pixels
  are so unlikely that a product overflows is done again, one logarithm each;
- every pass over the margins is in place, on a tile that stays in the caches;
- each core has its own image.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import TYPE_CHECKING, TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from pinxit.models.results import ImportanceEstimate
from pinxit.models.vae.likelihoods import Bernoulli
from pinxit.models.vae.networks import Labels, MLPDecoder
from pinxit.models.vae.priors import log_normal

if TYPE_CHECKING:
    from pinxit.models.vae.model import VAE

FEWEST = 64  # samples an image; with fewer the obvious way is as fast
ROWS = {"cpu": 1024, "cuda": 65536}  # samples a tile: on a CPU its margins stay in the L3 cache
FACTORS = 112  # in a product: it overflows where they together cost 128 bits
NONE = -126.0  # the margin of an output that is no pixel: 2^-126 added to 1 is 1


def importance_log_likelihood(
    model: VAE,
    x: Float[Tensor, "batch channel height width"],
    labels: Labels,
    samples: int,
    generator: torch.Generator | None = None,
) -> ImportanceEstimate | None:
    """log p(x) of images of 0 and 1 from `samples` importance samples (Burda 2015, eq. 8), nats.

    Each image has a seed of its own, drawn from `generator`. None where the model is not a
    Bernoulli MLP, or the samples are too few to gain anything.
    """
    if samples < FEWEST or not applies(model):
        return None
    tiles = math.ceil(samples / ROWS.get(x.device.type, ROWS["cpu"]))
    rows = math.ceil(samples / tiles)
    seeds = torch.randint(2**62, (len(x),), generator=generator, device=x.device).tolist()
    workers = min(torch.get_num_threads(), len(x)) if x.device.type == "cpu" else 1
    with torch.inference_mode():
        posterior = model.posterior(x, labels)
        free: SimpleQueue[Weights] = SimpleQueue()
        for _ in range(workers):
            free.put(Weights(model, x, labels, posterior, rows))

    @torch.inference_mode()
    def estimate(image: int) -> ImportanceEstimate:
        weigh = free.get()
        try:
            return estimate_of(weigh.drawn(image, samples, seeds[image]))
        finally:
            free.put(weigh)

    found = _on_threads(estimate, len(x), workers)
    return ImportanceEstimate(*map(torch.stack, zip(*found, strict=True)))


T = TypeVar("T")


def _on_threads(work: Callable[[int], T], count: int, workers: int) -> list[T]:
    """`work` of 0 .. count - 1 on threads of one core each.

    Images are many and alike: cores that each do their own need not wait for one another
    after every operation, as the threads of one operation do.
    """
    if workers == 1:
        return [work(number) for number in range(count)]
    threads = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(work, range(count)))
    finally:
        torch.set_num_threads(threads)  # a worker's setting is also that of threads yet to come


def applies(model: VAE) -> bool:
    """Whether the logits are one matrix product behind the decoder's hidden layers."""
    return isinstance(model.likelihood, Bernoulli) and isinstance(model.decoder, MLPDecoder)


def estimate_of(log_weights: Float[Tensor, " samples"]) -> ImportanceEstimate:
    """log of the mean of the weights w; its standard error; (sum w)^2 / sum w^2.

    By the delta method var(log mean w) is var(w) / (k (E w)^2), k the number of samples.
    """
    w = log_weights.double()
    k, total = len(w), w.logsumexp(0)
    share = ((2 * w).logsumexp(0) - 2 * total).exp()  # sum w^2 / (sum w)^2
    variance = (share - 1 / k).clamp(min=0) * (k / (k - 1))
    return ImportanceEstimate(total - math.log(k), variance.sqrt(), 1 / share)


class Weights:
    """log p(x, z) - log q(z given x) of many samples of one image of a batch.

    `posterior` is its mean and log-variance; buffers for `rows` samples are made once.
    """

    def __init__(
        self, model: VAE, x: Tensor, labels: Labels, posterior: tuple[Tensor, Tensor], rows: int
    ) -> None:
        assert isinstance(model.decoder, MLPDecoder), "a model that this applies to"
        self.prior = model.prior
        self.hidden = model.decoder.hidden
        self.labels = labels
        self.mean, self.logvar = posterior
        self.std = (0.5 * self.logvar).exp()
        last = model.decoder.last
        dims = last.out_features
        self.products = math.ceil(dims / FACTORS)
        outputs = self.products * math.ceil(dims / self.products)
        self.scales = math.log2(math.e) * (1 - 2 * x.flatten(1))
        self.weight = last.weight.t().contiguous()
        self.bias = last.bias
        self.dims, self.image = dims, -1
        # of one image: the last layer that gives margins, filled up with outputs of no effect
        self.margin_weight = x.new_zeros(last.in_features, outputs)
        self.margin_bias = x.new_full((outputs,), NONE)
        self.odds, self.one = torch.empty_like(self.margin_bias), x.new_ones(())
        self.margins = x.new_empty(rows, outputs)
        self.noise = x.new_empty(rows, model.latent_dim)
        self.generator = torch.Generator(x.device)

    def drawn(self, image: int, samples: int, seed: int) -> Float[Tensor, " samples"]:
        """The log-weights of `samples` samples that a seed draws."""
        self.generator.manual_seed(seed)
        starts = range(0, samples, len(self.noise))
        tiles = (self.noise[: samples - start] for start in starts)
        return torch.cat([self(image, tile.normal_(generator=self.generator)) for tile in tiles])

    def __call__(
        self, image: int, noise: Float[Tensor, "samples latent"]
    ) -> Float[Tensor, " samples"]:
        """The log-weights at z = mean + std * noise of the image with this number."""
        if image != self.image:
            self._turn_to(image)
        z = torch.addcmul(self.mean[image], self.std[image], noise)
        labels = None if self.labels is None else self.labels[image].expand(len(noise))
        log_q = log_normal(noise).sum(-1) - 0.5 * self.logvar[image].sum()
        log_p_x = self._log_prob(self.hidden(z, labels))
        return log_p_x + self.prior.log_prob(z) - log_q

    def _turn_to(self, image: int) -> None:
        scale = self.scales[image]
        torch.mul(self.weight, scale, out=self.margin_weight[:, : self.dims])
        torch.mul(self.bias, scale, out=self.margin_bias[: self.dims])
        torch.exp2(self.margin_bias, out=self.odds)
        self.image = image

    def _log_prob(self, h: Float[Tensor, "samples width"]) -> Float[Tensor, " samples"]:
        """-sum of log(1 + 2^m): margins m are in units of log 2."""
        m = self.margins[: len(h)]
        torch.mm(h, self.margin_weight, out=m).exp2_()
        torch.addcmul(self.one, m, self.odds, out=m)  # the bias: 2^(m + b) = 2^m 2^b
        cost = m.unflatten(1, (self.products, -1)).prod(2).log_().sum(1)
        over = ~cost.isfinite()
        if over.any():
            cost[over] = self._careful(h[over])
        return -cost

    def _careful(self, h: Float[Tensor, "samples width"]) -> Float[Tensor, " samples"]:
        """The same where a product overflows."""
        margins = torch.addmm(self.margin_bias, h, self.margin_weight)
        return F.softplus(math.log(2) * margins).sum(1)
