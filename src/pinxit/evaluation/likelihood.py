"""How likely held-out images are: the ELBO with its parts, and importance-weighted estimates.

All in nats an image unless said. Chance is a function of (seed, chunk of images) alone, so
neither memory nor the number of images asked for changes an image's estimate.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from pinxit.console import ProgressCallback
from pinxit.data.images import Images
from pinxit.evaluation.metrics import MetricValue, Value
from pinxit.models.protocols import FastImportanceSampling
from pinxit.models.results import ImportanceEstimate
from pinxit.sampling.elbo import ELBO_BATCH, ElboTerms, observe_batches

CPU_TILE_VALUES = 1_000_000  # numbers of x decoded at once on a CPU: more do not fit its caches
MAX_DEFAULT_FLOPS = 6e12  # what a default estimate may cost: one to two minutes of two CPU cores
ROUND_COUNTS = (20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000)


class RunningLogMeanExp:
    """log-mean-exp of importance weights that come in parts, in float64.

    Holds max w, sum exp(w - max) and sum exp(2 (w - max)) of each image's log-weights w.
    """

    def __init__(self, images: int, device: Any = "cpu") -> None:
        self.count = 0
        self.top = torch.full((images,), -math.inf, dtype=torch.float64, device=device)
        self.sum = torch.zeros_like(self.top)
        self.squares = torch.zeros_like(self.top)

    def add(self, log_weights: Float[Tensor, "batch samples"]) -> None:
        w = log_weights.double()
        top = torch.maximum(self.top, w.amax(1))
        shrink = (self.top - top).exp()  # 0 at first
        scaled = (w - top[:, None]).exp()
        self.sum = self.sum * shrink + scaled.sum(1)
        self.squares = self.squares * shrink.square() + scaled.square().sum(1)
        self.top, self.count = top, self.count + w.shape[1]

    def estimate(self) -> ImportanceEstimate:
        """log (1/k sum w), its standard error by the delta method, (sum w)^2 / sum w^2.

        var(log mean w) is near var(w) / (k (E w)^2) = sum w^2 / (sum w)^2 - 1/k, times k / (k-1).
        """
        k = self.count
        share = self.squares / self.sum.square()
        variance = (share - 1 / k).clamp(min=0) * (k / max(1, k - 1))
        error = variance.sqrt() if k > 1 else torch.full_like(share, math.nan)
        return ImportanceEstimate(self.top + self.sum.log() - math.log(k), error, 1 / share)


@torch.inference_mode()
def iw_log_likelihood(
    model: Any,
    images: Images,
    samples: int,
    seed: int = 0,
    told: ProgressCallback | None = None,
) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    """log p(x) of each image by `samples` importance samples, its Monte Carlo standard error,
    and effective samples: the IW-k bound of Burda 2015 (eq. 8), which rises to log p(x) with k."""
    parts = []
    for start, x, labels, generator in observe_batches(model, images, seed):
        parts.append(estimate_batch(model, x, labels, samples, generator))
        if told:
            told(min(start + ELBO_BATCH, len(images)), len(images))
    columns = [torch.cat(column).cpu().numpy() for column in zip(*parts, strict=True)]
    return columns[0], columns[1], columns[2]


def estimate_batch(
    model: Any, x: Tensor, labels: Tensor | None, samples: int, generator: torch.Generator
) -> ImportanceEstimate:
    """The estimate of a few images, by the model's own faster way where it has one.

    Else from `log_weights` in tiles as large as memory allows, kept as running sums: memory does
    not grow with `samples`.
    """
    fast = _fast_path(model, x, labels, samples, generator)
    if fast is not None:
        return fast
    rows = max(1, values_per_tile(x.device) // x[0].numel())
    running, at_once = [], max(1, min(len(x), rows // 50))
    for start in range(0, len(x), at_once):
        some = slice(start, start + at_once)
        sums = RunningLogMeanExp(len(x[some]), x.device)
        step = max(1, rows // len(x[some]))
        while sums.count < samples:
            many = min(step, samples - sums.count)
            select_images = None if labels is None else labels[some]
            sums.add(model.log_weights(x[some], select_images, many, generator))
        running.append(sums.estimate())
    return ImportanceEstimate(*(torch.cat(column) for column in zip(*running, strict=True)))


def _fast_path(
    model: Any, x: Tensor, labels: Tensor | None, samples: int, generator: torch.Generator
) -> ImportanceEstimate | None:
    if not isinstance(model, FastImportanceSampling):
        return None
    return model.importance_log_likelihood(x, labels, samples, generator)


def values_per_tile(device: torch.device) -> int:
    """Numbers of x to decode at once."""
    if device.type != "cuda":
        return CPU_TILE_VALUES
    return int(torch.cuda.get_device_properties(device).total_memory // 256)


def default_num_images(model: Any, images: Images, samples: int) -> int:
    """How many images a default estimate takes: a round number, about a minute on two cores.

    From the model's operations, not from a clock, so that it is the same on every run.
    """
    from torch.utils.flop_counter import FlopCounterMode

    few = 8
    _, x, labels, generator = next(observe_batches(model, images[:1], 0))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.log_weights(x, labels, few, generator)
    each = max(1, counter.get_total_flops()) / few * samples
    within = [
        count
        for count in ROUND_COUNTS
        if count * each <= MAX_DEFAULT_FLOPS * relative_speed(x.device)
    ]
    return min(len(images), within[-1] if within else ROUND_COUNTS[0])


def relative_speed(device: torch.device) -> float:
    """A rough factor over two CPU cores."""
    return 100.0 if device.type == "cuda" else 1.0


def elbo_metrics(model: Any, found: ElboTerms) -> Iterator[MetricValue]:
    """ELBO, distortion and rate with standard errors over the images; KL by latent."""
    yield from _with_error("elbo", found.elbo)
    yield "distortion", float(found.distortion.mean())
    yield "rate", float(found.rate.sum(1).mean())
    if model.eight_bit:
        yield from _with_error("elbo_bits_per_dim", -found.elbo / _nats_per_bit(model))
    yield "kl_per_latent", found.rate.mean(0).tolist()


def iw_metrics(
    model: Any, images: Images, samples: int, seed: int = 0, told: ProgressCallback | None = None
) -> Iterator[MetricValue]:
    """The IW log-likelihood: its standard error over images, and that of the sampling alone."""
    log_p, error, effective = iw_log_likelihood(model, images, samples, seed, told)
    yield from _with_error("log_likelihood", log_p)
    yield "log_likelihood_sampling_error", float(np.sqrt((error**2).sum()) / len(error))
    if model.eight_bit:
        yield from _with_error("log_likelihood_bits_per_dim", -log_p / _nats_per_bit(model))
    yield "effective_samples", float(np.median(effective))


def ess_warnings(figures: Mapping[str, Value], samples: int) -> Iterator[str]:
    """A line where few samples carry most images' estimates: the bound is then not tight."""
    effective = figures["effective_samples"]
    if samples >= 100 and isinstance(effective, float) and effective < 10:
        yield (
            f"the importance-weighted likelihood is a loose bound: of {samples:,} samples only "
            f"{effective:.1f} count for the median image; the true value is likely higher"
        )


def select_images(model: Any, images: Images, samples: int, limit: int | None) -> Images:
    """The images whose likelihood is estimated: `limit`, or as many as are affordable."""
    return images.evenly_spaced(limit or default_num_images(model, images, samples))


def _nats_per_bit(model: Any) -> float:
    return model.info.dims * math.log(2)


def _with_error(name: str, values: Float64[np.ndarray, " n"]) -> Iterator[MetricValue]:
    yield name, float(values.mean())
    if len(values) > 1:
        yield f"{name}_error", float(values.std(ddof=1) / math.sqrt(len(values)))


def exact_likelihood_metrics(model: Any, images: Images, seed: int = 0) -> Iterator[MetricValue]:
    """The mean log-likelihood of a model that scores exactly, and its standard error.

    In bits per dimension too where the model's values are all 256.
    """
    scores = np.asarray(model.score(images, seed=seed), np.float64)
    yield from _with_error("log_likelihood", scores)
    if model.eight_bit:
        yield from _with_error("log_likelihood_bits_per_dim", -scores / _nats_per_bit(model))
