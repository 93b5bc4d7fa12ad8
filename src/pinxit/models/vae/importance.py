"""Fast importance weights log p(x, z) - log q(z|x) of a Bernoulli MLP decoder.

The weights equal those of `VAE.log_weights`. The differences, for one image x at a time:

- 1 - 2x is multiplied into the last layer, which then outputs margins m = (1 - 2x) l of the logits
  l: log p(x|z) = -sum log(1 + exp(m)), without cancellation of large terms;
- so is log2 e: exp2 is twice as fast as exp;
- the logarithm is taken of products of many 1 + 2^m rather than of each factor; samples whose
  product overflows are recomputed with one logarithm per factor;
- every pass over the margins is in place, on a tile that stays in the caches;
- on a CPU each thread processes another image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import TypeGuard, TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from pinxit.models.vae.autoregressive_likelihood import Autoregressive
from pinxit.models.vae.likelihoods import Bernoulli
from pinxit.models.vae.linear_head import LinearHead
from pinxit.models.vae.networks import Labels, MLPDecoder
from pinxit.models.vae.proposal import propose
from pinxit.models.vae.vamp_prior import Prior

MIN_SAMPLES = 64  # per image; below it the plain computation is as fast
TILE_SAMPLES = {"cpu": 1024, "cuda": 65536}  # on a CPU a tile's margins stay in the L3 cache
FACTORS_PER_PRODUCT = 112  # a product overflows where its factors together cost 128 bits
PADDING_MARGIN = -126.0  # margin of an output that is no pixel: 1 + 2^-126 rounds to 1

T = TypeVar("T")
Posterior = tuple[Float[Tensor, "batch latent"], Float[Tensor, "batch latent"]]  # mean, logvar


def supports_fast_importance(
    decoder: nn.Module, likelihood: nn.Module, num_samples: int
) -> TypeGuard[MLPDecoder]:
    """Return whether the fast weights are supported and faster than `log_weights`.

    They need logits that are one matrix product of the decoder's last hidden layer, and a shift
    that is the same for all z.
    """
    if num_samples < MIN_SAMPLES or not isinstance(decoder, MLPDecoder):
        return False
    return isinstance(likelihood, Bernoulli) or linear_head(likelihood) is not None


def linear_head(likelihood: nn.Module) -> LinearHead | None:
    """Return the linear head of a likelihood, if it has one."""
    head = likelihood.head if isinstance(likelihood, Autoregressive) else None
    return head if isinstance(head, LinearHead) else None


def fast_log_weights(
    make: Callable[[int], ImportanceWeights],
    device: torch.device,
    num_samples: int,
    seeds: Sequence[int],
    defensive_share: float = 0.0,
) -> Float[Tensor, "batch samples"]:
    """Return the log-weights of binary images, in nats (Burda 2015, eq. 8).

    `make(tile_samples)` returns the `ImportanceWeights` of the batch. Each image has its own seed:
    neither the number of threads nor the other images change its weights.
    """
    num_tiles = math.ceil(num_samples / TILE_SAMPLES.get(device.type, TILE_SAMPLES["cpu"]))
    tile_samples = math.ceil(num_samples / num_tiles)
    num_threads = min(torch.get_num_threads(), len(seeds)) if device.type == "cpu" else 1
    idle: SimpleQueue[ImportanceWeights] = SimpleQueue()
    with torch.inference_mode():
        for _ in range(num_threads):
            idle.put(make(tile_samples))

    @torch.inference_mode()
    def compute(image: int) -> Float[Tensor, " samples"]:
        weights = idle.get()
        try:
            return weights.log_weights(image, num_samples, seeds[image], defensive_share)
        finally:
            idle.put(weights)

    return torch.stack(_map_on_threads(compute, len(seeds), num_threads))


def _map_on_threads(function: Callable[[int], T], count: int, num_threads: int) -> list[T]:
    """Call `function` with 0 .. count - 1 on threads that use one core each.

    Threads with an image each need not wait for one another after every operation, as the
    threads within one operation do.
    """
    if num_threads == 1:
        return [function(i) for i in range(count)]
    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(
            num_threads, initializer=torch.set_num_threads, initargs=(1,)
        ) as pool:
            return list(pool.map(function, range(count)))
    finally:
        torch.set_num_threads(before)  # a worker's setting also applies to later threads


class ImportanceWeights:
    """log p(x, z) - log q(z|x) for many samples z of one image of a batch.

    Allocates the buffers for tiles of `tile_samples` samples once.
    """

    def __init__(
        self,
        x: Tensor,
        labels: Labels,
        posterior: Posterior,
        decoder: MLPDecoder,
        prior: Prior,
        likelihood: nn.Module,
        tile_samples: int,
    ) -> None:
        self.prior, self.decoder, self.labels = prior, decoder, labels
        self.mean, self.logvar = posterior
        last = decoder.out_proj
        self.dims = last.out_features
        self.num_products = math.ceil(self.dims / FACTORS_PER_PRODUCT)
        num_outputs = self.num_products * math.ceil(self.dims / self.num_products)
        self.scales = math.log2(math.e) * (1 - 2 * x.flatten(1))
        self.weight = last.weight.t().contiguous()
        self.biases = last.bias.expand_as(self.scales)
        if head := linear_head(likelihood):  # a shift of the logits, the same for each z
            self.biases = self.biases + head.shift(x).flatten(1)
        # the selected image's last layer, which outputs margins; padded with outputs of no effect
        self.image = -1
        self.margin_weight = x.new_zeros(last.in_features, num_outputs)
        self.margin_bias = x.new_full((num_outputs,), PADDING_MARGIN)
        self.exp2_bias, self.one = torch.empty_like(self.margin_bias), x.new_ones(())
        self.margins = x.new_empty(tile_samples, num_outputs)
        self.noise = x.new_empty(tile_samples, self.mean.shape[1])
        self.generator = torch.Generator(x.device)

    def log_weights(
        self, image: int, num_samples: int, seed: int, defensive_share: float = 0.0
    ) -> Float[Tensor, " samples"]:
        """Return the log-weights of `num_samples` samples drawn with `seed`."""
        self.generator.manual_seed(seed)
        starts = range(0, num_samples, len(self.noise))
        tiles = (self.noise[: num_samples - start] for start in starts)
        return torch.cat([self._draw(image, tile, defensive_share) for tile in tiles])

    def _draw(
        self, image: int, noise: Float[Tensor, "samples latent"], defensive_share: float
    ) -> Float[Tensor, " samples"]:
        noise.normal_(generator=self.generator)
        if defensive_share == 0:
            return self(image, noise)
        uniforms = torch.rand(len(noise), generator=self.generator, device=noise.device)
        return self(image, noise, uniforms, defensive_share)

    def __call__(
        self,
        image: int,
        noise: Float[Tensor, "samples latent"],
        uniforms: Float[Tensor, " samples"] | None = None,
        defensive_share: float = 0.0,
    ) -> Float[Tensor, " samples"]:
        """Return the log-weights at the samples that `propose` makes of this noise."""
        if image != self.image:
            self._select_image(image)
        mean, logvar = self.mean[image], self.logvar[image]
        z, log_q, log_prior = propose(mean, logvar, noise, self.prior, uniforms, defensive_share)
        labels = None if self.labels is None else self.labels[image].expand(len(noise))
        return self._log_prob(self.decoder.forward_hidden(z, labels)) + log_prior - log_q

    def _select_image(self, image: int) -> None:
        scale = self.scales[image]
        torch.mul(self.weight, scale, out=self.margin_weight[:, : self.dims])
        torch.mul(self.biases[image], scale, out=self.margin_bias[: self.dims])
        torch.exp2(self.margin_bias, out=self.exp2_bias)
        self.image = image

    def _log_prob(self, h: Float[Tensor, "samples width"]) -> Float[Tensor, " samples"]:
        """-sum log(1 + 2^m), with margins m in units of log 2."""
        m = self.margins[: len(h)]
        torch.mm(h, self.margin_weight, out=m).exp2_()
        torch.addcmul(self.one, m, self.exp2_bias, out=m)  # 1 + 2^(m + b) = 1 + 2^m 2^b
        cost = m.unflatten(1, (self.num_products, -1)).prod(2).log_().sum(1)
        overflow = ~cost.isfinite()
        if overflow.any():
            cost[overflow] = -self._log_prob_stable(h[overflow])
        return -cost

    def _log_prob_stable(self, h: Float[Tensor, "samples width"]) -> Float[Tensor, " samples"]:
        """Compute `_log_prob` with one logarithm per factor, which cannot overflow."""
        margins = torch.addmm(self.margin_bias, h, self.margin_weight)
        return -F.softplus(math.log(2) * margins).sum(1)
