"""Importance weights of images, drawn in batches and tiles that fit into memory.

The random draws of an image depend on the seed and its name only: neither memory nor the other
images change its estimate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from pinxit.console import ProgressCallback
from pinxit.data.images import Images
from pinxit.evaluation.importance import estimate_from_weights
from pinxit.models.likelihood_protocols import FastImportanceSampling
from pinxit.models.protocols import HasELBO
from pinxit.nn.image_seeds import Draw, image_seeds
from pinxit.nn.rng import mix_seed
from pinxit.sampling.elbo import ELBO_BATCH, LikelihoodBatch, iter_likelihood_batches

MAX_TILE_SAMPLES = 50  # of each image, decoded at once
CPU_TILE_VALUES = 1_000_000  # values of x decoded at once on a CPU; more overflow its caches
MAX_DEFAULT_FLOPS = 6e12  # of an estimate on a default number of images: 1 to 2 min of 2 cores
CUDA_SPEEDUP = 100.0  # rough speed of a GPU over two CPU cores
ROUND_COUNTS = (20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000)

X = Float[Tensor, "batch channel height width"]
Labels = Int64[Tensor, " batch"] | None
PerImage = Float64[np.ndarray, " n"]
LabelProbs = Float64[np.ndarray, " labels"]  # sum to 1


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
    label_probs: LabelProbs | None = None,
) -> IWLogLikelihood:
    """Estimate log p(x) of each image from `num_samples` importance samples.

    A label-conditional model gives log p(x | label of the image). With `label_probs` it is
    log sum_y p(y) p(x | y): `num_samples` samples for each label.
    """
    parts = []
    for batch in iter_likelihood_batches(model, images, seed):
        parts.append(
            estimate_from_weights(
                _sum_over_labels(model, batch, num_samples, seed, defensive_share, label_probs)
            )
        )
        if progress:
            progress(min(batch.start + ELBO_BATCH, len(images)), len(images))
    columns = (torch.cat(column).cpu().numpy() for column in zip(*parts, strict=True))
    return IWLogLikelihood(*columns)


def _sum_over_labels(
    model: HasELBO,
    batch: LikelihoodBatch,
    num_samples: int,
    seed: int,
    defensive_share: float,
    label_probs: LabelProbs | None,
) -> Float[Tensor, "batch samples"]:
    """Return the log-weights of a batch; with `label_probs` log sum_y p(y) w_y for each sample.

    Its mean is then an unbiased estimate of sum_y p(y) p(x | y).
    """
    seeds = image_seeds(batch.images, seed, Draw.IMPORTANCE)
    if label_probs is None:
        return log_weights(model, batch.x, batch.labels, num_samples, seeds, defensive_share)
    terms = []
    for label in np.flatnonzero(label_probs).tolist():
        labels = torch.full((len(batch.x),), label, device=batch.x.device)
        own = [mix_seed(image_seed, label + 1) for image_seed in seeds]
        weights = log_weights(model, batch.x, labels, num_samples, own, defensive_share)
        terms.append(weights.double() + math.log(label_probs[label]))
    return torch.stack(terms).logsumexp(0)


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
