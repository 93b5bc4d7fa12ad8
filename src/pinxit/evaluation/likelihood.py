"""Log-likelihood of held-out images: ELBO, importance-weighted estimate, or exact value.

All values are in nats per image unless stated. Random draws depend on (seed, batch of images)
only: neither memory nor the number of images changes the estimate of an image.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from pinxit.console import ProgressCallback
from pinxit.data.images import Images
from pinxit.evaluation.metrics import MetricValue, Value
from pinxit.models.protocols import CanScore, FastImportanceSampling, HasELBO
from pinxit.models.results import ImportanceEstimate
from pinxit.sampling.elbo import ELBO_BATCH, ElboTerms, iter_likelihood_batches
from pinxit.sampling.scores import bits_per_dim

CPU_TILE_VALUES = 1_000_000  # values of x decoded at once on a CPU; more overflow its caches
MAX_DEFAULT_FLOPS = 6e12  # of an estimate on a default number of images: 1 to 2 min of 2 cores
CUDA_SPEEDUP = 100.0  # rough speed of a GPU over two CPU cores
ROUND_COUNTS = (20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000)
MIN_EFFECTIVE_SAMPLES = 10  # fewer in the median image: the bound is not tight

X = Float[Tensor, "batch channel height width"]
Labels = Int64[Tensor, " batch"] | None
PerImage = Float64[np.ndarray, " n"]


# -- ELBO --------------------------------------------------------------------------------------


def elbo_metrics(model: HasELBO, terms: ElboTerms) -> Iterator[MetricValue]:
    """Yield the ELBO with its standard error over the images, its two terms, and KL per latent."""
    yield from _mean_and_error("elbo", terms.elbo)
    yield "distortion", float(terms.distortion.mean())
    yield "rate", float(terms.rate.sum(1).mean())
    if model.eight_bit:
        yield from _mean_and_error("elbo_bits_per_dim", bits_per_dim(terms.elbo, model.info.dims))
    yield "kl_per_latent", terms.rate.mean(0).tolist()


# -- importance-weighted estimate --------------------------------------------------------------


class IWLogLikelihood(NamedTuple):
    """The importance-weighted bound of Burda 2015 (eq. 8), which rises to log p(x) with k."""

    log_likelihood: PerImage
    std_error: PerImage  # of the Monte Carlo estimate
    ess: PerImage  # effective sample size, (sum w)^2 / sum w^2


class RunningLogMeanExp:
    """log-mean-exp of importance weights that arrive in parts, in float64.

    Keeps max w, sum exp(w - max) and sum exp(2 (w - max)) of each image's log-weights w.
    """

    def __init__(self, num_images: int, device: torch.device | str = "cpu") -> None:
        self.count = 0  # weights per image so far
        self.max = torch.full((num_images,), -math.inf, dtype=torch.float64, device=device)
        self.sum = torch.zeros_like(self.max)
        self.sum_of_squares = torch.zeros_like(self.max)

    def add(self, log_weights: Float[Tensor, "batch samples"]) -> None:
        """Include more weights of every image."""
        w = log_weights.double()
        new_max = torch.maximum(self.max, w.amax(1))
        rescale = (self.max - new_max).exp()  # 0 at first
        scaled = (w - new_max[:, None]).exp()
        self.sum = self.sum * rescale + scaled.sum(1)
        self.sum_of_squares = self.sum_of_squares * rescale.square() + scaled.square().sum(1)
        self.max, self.count = new_max, self.count + w.shape[1]

    def estimate(self) -> ImportanceEstimate:
        """Return log (1/k sum w), its standard error by the delta method, and the ESS.

        var(log mean w) ~ var(w) / (k (E w)^2) = (sum w^2 / (sum w)^2 - 1/k) k / (k - 1); the ESS
        is (sum w)^2 / sum w^2.
        """
        k = self.count
        inverse_ess = self.sum_of_squares / self.sum.square()
        variance = (inverse_ess - 1 / k).clamp(min=0) * (k / max(1, k - 1))
        error = variance.sqrt() if k > 1 else torch.full_like(inverse_ess, math.nan)
        log_mean = self.max + self.sum.log() - math.log(k)
        return ImportanceEstimate(log_mean, error, 1 / inverse_ess)


@torch.inference_mode()
def iw_log_likelihood(
    model: HasELBO,
    images: Images,
    num_samples: int,
    seed: int = 0,
    progress: ProgressCallback | None = None,
) -> IWLogLikelihood:
    """Estimate log p(x) of each image from `num_samples` importance samples."""
    parts = []
    for batch in iter_likelihood_batches(model, images, seed):
        parts.append(estimate_batch(model, batch.x, batch.labels, num_samples, batch.generator))
        if progress:
            progress(min(batch.start + ELBO_BATCH, len(images)), len(images))
    columns = (torch.cat(column).cpu().numpy() for column in zip(*parts, strict=True))
    return IWLogLikelihood(*columns)


def estimate_batch(
    model: HasELBO, x: X, labels: Labels, num_samples: int, generator: torch.Generator
) -> ImportanceEstimate:
    """Estimate log p(x) of a batch, by the model's fast path where it has one.

    Otherwise `log_weights` runs on tiles that fit into memory, whose weights are summed up:
    memory does not grow with `num_samples`.
    """
    fast = _fast_path(model, x, labels, num_samples, generator)
    if fast is not None:
        return fast
    tile = max(1, max_tile_values(x.device) // x[0].numel())  # images x samples
    batch = max(1, min(len(x), tile // 50))
    parts = []
    for start in range(0, len(x), batch):
        rows = slice(start, start + batch)
        sums = RunningLogMeanExp(len(x[rows]), x.device)
        while sums.count < num_samples:
            samples = min(max(1, tile // len(x[rows])), num_samples - sums.count)
            row_labels = None if labels is None else labels[rows]
            sums.add(model.log_weights(x[rows], row_labels, samples, generator))
        parts.append(sums.estimate())
    return ImportanceEstimate(*(torch.cat(column) for column in zip(*parts, strict=True)))


def _fast_path(
    model: HasELBO, x: X, labels: Labels, num_samples: int, generator: torch.Generator
) -> ImportanceEstimate | None:
    if not isinstance(model, FastImportanceSampling):
        return None
    return model.importance_log_likelihood(x, labels, num_samples, generator)


def max_tile_values(device: torch.device) -> int:
    """Return how many values of x fit into memory at once."""
    if device.type != "cuda":
        return CPU_TILE_VALUES
    return int(torch.cuda.get_device_properties(device).total_memory // 256)


def iw_metrics(
    model: HasELBO,
    images: Images,
    num_samples: int,
    seed: int = 0,
    progress: ProgressCallback | None = None,
) -> Iterator[MetricValue]:
    """Yield the importance-weighted log-likelihood and its errors.

    `_error` is the standard error over the images, `_sampling_error` the part of it that is due
    to the importance samples.
    """
    log_p, error, effective = iw_log_likelihood(model, images, num_samples, seed, progress)
    yield from _mean_and_error("log_likelihood", log_p)
    yield "log_likelihood_sampling_error", float(np.sqrt((error**2).sum()) / len(error))
    if model.eight_bit:
        bits = bits_per_dim(log_p, model.info.dims)
        yield from _mean_and_error("log_likelihood_bits_per_dim", bits)
    yield "effective_samples", float(np.median(effective))


def ess_warnings(metrics: Mapping[str, Value], num_samples: int) -> Iterator[str]:
    """Yield a warning if few samples carry most of the weight: the bound is then not tight."""
    effective = metrics["effective_samples"]
    if num_samples < 100 or not isinstance(effective, float):
        return
    if effective >= MIN_EFFECTIVE_SAMPLES:
        return
    yield (
        f"the importance-weighted likelihood is a loose bound: the median image has an effective "
        f"sample size of {effective:.1f} out of {num_samples:,}; the true value is likely higher"
    )


# -- number of images --------------------------------------------------------------------------


def select_images(
    model: HasELBO, images: Images, num_samples: int, num_images: int | None
) -> Images:
    """Select evenly spaced images for the estimate; None: `default_num_images`."""
    return images.evenly_spaced(num_images or default_num_images(model, images, num_samples))


def default_num_images(model: HasELBO, images: Images, num_samples: int) -> int:
    """Return a round number of images whose estimate takes one to two minutes on two CPU cores.

    Counted in floating-point operations, not measured, so that every run gets the same number.
    """
    samples = 8
    _, x, labels, generator = next(iter_likelihood_batches(model, images[:1], 0))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.log_weights(x, labels, samples, generator)
    flops_per_image = max(1, counter.get_total_flops()) / samples * num_samples
    budget = MAX_DEFAULT_FLOPS * (CUDA_SPEEDUP if x.device.type == "cuda" else 1.0)
    within = [count for count in ROUND_COUNTS if count * flops_per_image <= budget]
    return min(len(images), within[-1] if within else ROUND_COUNTS[0])


# -- exact likelihood --------------------------------------------------------------------------


def exact_likelihood_metrics(
    model: CanScore, images: Images, seed: int = 0
) -> Iterator[MetricValue]:
    """Yield the mean log-likelihood of a model that computes it exactly, and its error.

    In bits per dimension too if the likelihood is over 8-bit values.
    """
    scores = np.asarray(model.score(images, seed=seed), np.float64)
    yield from _mean_and_error("log_likelihood", scores)
    if model.eight_bit:
        bits = bits_per_dim(scores, model.info.dims)
        yield from _mean_and_error("log_likelihood_bits_per_dim", bits)


def _mean_and_error(name: str, values: PerImage) -> Iterator[MetricValue]:
    yield name, float(values.mean())
    if len(values) > 1:
        yield f"{name}_error", float(values.std(ddof=1) / math.sqrt(len(values)))
