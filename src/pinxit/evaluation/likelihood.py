"""Log-likelihood of held-out images: ELBO, importance-weighted estimate, or exact value.

All values are in nats per image unless stated. The random draws of an image depend on the seed and
its name only: neither memory nor the other images change its estimate.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from pinxit.console import ProgressCallback
from pinxit.data.images import Images
from pinxit.evaluation.importance import estimate_from_weights
from pinxit.evaluation.metrics import MetricValue, Value
from pinxit.models.protocols import CanScore, FastImportanceSampling, HasELBO
from pinxit.nn.image_seeds import Draw, image_seeds
from pinxit.nn.rng import mix_seed
from pinxit.sampling.elbo import ELBO_BATCH, ElboTerms, iter_likelihood_batches
from pinxit.sampling.scores import bits_per_dim

MAX_TILE_SAMPLES = 50  # of each image, decoded at once
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
    """`ImportanceEstimate` of all images, as arrays."""

    log_likelihood: PerImage
    half: PerImage
    quarter: PerImage
    std_error: PerImage
    ess: PerImage
    pareto_k: PerImage


@torch.inference_mode()
def iw_log_likelihood(
    model: HasELBO,
    images: Images,
    num_samples: int,
    seed: int = 0,
    progress: ProgressCallback | None = None,
    defensive_share: float = 0.0,
) -> IWLogLikelihood:
    """Estimate log p(x) of each image from `num_samples` importance samples."""
    parts = []
    for batch in iter_likelihood_batches(model, images, seed):
        seeds = image_seeds(batch.images, seed, Draw.IMPORTANCE)
        weights = log_weights(model, batch.x, batch.labels, num_samples, seeds, defensive_share)
        parts.append(estimate_from_weights(weights))
        if progress:
            progress(min(batch.start + ELBO_BATCH, len(images)), len(images))
    columns = (torch.cat(column).cpu().numpy() for column in zip(*parts, strict=True))
    return IWLogLikelihood(*columns)


def log_weights(
    model: HasELBO,
    x: X,
    labels: Labels,
    num_samples: int,
    seeds: Sequence[int],
    defensive_share: float = 0.0,
) -> Float[Tensor, "batch samples"]:
    """Return the log-weights of a batch, by the model's fast path where it has one.

    Otherwise `model.log_weights` runs on tiles that fit into memory. The weights of an image
    depend on its own seed only: the samples of a tile are a function of (seed, number of the tile).
    """
    if isinstance(model, FastImportanceSampling):
        fast = model.importance_log_weights(x, labels, num_samples, seeds, defensive_share)
        if fast is not None:
            return fast
    max_values = max(1, max_tile_values(x.device) // x[0].numel())  # images x samples
    tile_samples = min(num_samples, MAX_TILE_SAMPLES, max_values)
    rows = _slices(len(x), max(1, max_values // tile_samples))
    return torch.cat(
        [
            _log_weights_by_tiles(
                model,
                x[row],
                None if labels is None else labels[row],
                [min(tile_samples, num_samples - s) for s in range(0, num_samples, tile_samples)],
                seeds[row],
                defensive_share,
            )
            for row in rows
        ]
    )


def _slices(count: int, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, count, size)]


def _log_weights_by_tiles(
    model: HasELBO,
    x: X,
    labels: Labels,
    tiles: list[int],
    seeds: Sequence[int],
    defensive_share: float,
) -> Float[Tensor, "batch samples"]:
    """Compute the log-weights for tiles of so many samples."""
    parts = []
    for number, samples in enumerate(tiles):
        own = [mix_seed(seed, number) for seed in seeds]
        parts.append(model.log_weights(x, labels, samples, own, defensive_share))
    return torch.cat(parts, 1)


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
    estimate = iw_log_likelihood(model, images, num_samples, seed, progress)
    log_p, error, effective = estimate.log_likelihood, estimate.std_error, estimate.ess
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
    _, x, labels, _ = next(iter_likelihood_batches(model, images[:1], 0))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.log_weights(x, labels, samples)
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
