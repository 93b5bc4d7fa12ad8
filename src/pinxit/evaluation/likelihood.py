"""Log-likelihood of held-out images: ELBO, importance-weighted estimate, or exact value.

All values are in nats per image unless stated. A label-conditional model gives log p(x | label),
which is named `log_likelihood:label`: it is up to the entropy of the labels higher than log p(x).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64

from pinxit.data.image_rows import ImageRows
from pinxit.data.images import Images
from pinxit.errors import UsageError
from pinxit.evaluation.estimates import (
    Estimate,
    bootstrap_estimate,
    estimate_mean,
    estimate_proportion,
)
from pinxit.evaluation.importance import MAX_PARETO_K
from pinxit.evaluation.log_weights import IWLogLikelihood, LabelProbs
from pinxit.evaluation.metrics import GIVEN_LABEL, MetricValue
from pinxit.models.protocols import CanScore, HasELBO, HasPalette
from pinxit.sampling.elbo import ElboTerms
from pinxit.sampling.inputs import is_label_conditional
from pinxit.sampling.scores import bits_per_dim

MIN_DIAGNOSED_SAMPLES = 100  # with fewer the bound is meant to be loose
MAX_UNRELIABLE_SHARE = 0.02  # of images with a Pareto k above MAX_PARETO_K
LOW_QUANTILE = 0.05  # of the effective sample size over the images

PerImage = Float64[np.ndarray, " n"]
Likelihood = CanScore | HasELBO


def name_given_label(model: object, name: str, images: Images | None = None) -> str:
    """Return the name of a metric that is conditional on the label if the model is.

    Of images of which none has a label that the model knows it is not: it is given none.
    """
    if not is_label_conditional(model):
        return name
    if images is not None and len(images) and count_unlabelled(images) == len(images):
        return name
    return f"{name}:{GIVEN_LABEL}"


def count_unlabelled(images: Images) -> int:
    """Return how many images have no label; those of a label that the model does not know are -1.

    See `match_labels`.
    """
    return len(images) if images.labels is None else int((images.labels < 0).sum())


def describe_likelihood(
    model: Likelihood, images: Images | None = None, *, averaged: bool = False
) -> str:
    """Return what the likelihood of the images is of, for the evaluation's protocol."""
    parts = [model.likelihood_description]
    if is_label_conditional(model):
        count, unlabelled = (0, 0) if images is None else (len(images), count_unlabelled(images))
        given = "log p(x | label), given the label of each image"
        if unlabelled:
            given += " that has one that the model knows"
        parts = [given if unlabelled < count or not count else "log p(x | no label)", *parts]
    if averaged:
        parts.append("also averaged over the labels, by their frequency in training")
    return "; ".join(parts)


# -- ELBO --------------------------------------------------------------------------------------


def elbo_metrics(model: HasELBO, terms: ElboTerms, images: Images) -> Iterator[MetricValue]:
    """Yield the ELBO with its two terms."""
    yield from _in_nats_and_bits(model, name_given_label(model, "elbo", images), terms.elbo, images)
    yield "distortion", estimate_mean(terms.distortion, images.groups)
    yield "rate", estimate_mean(terms.rate.sum(1), images.groups)


# -- importance-weighted estimate --------------------------------------------------------------


def iw_metrics(
    model: HasELBO,
    estimate: IWLogLikelihood,
    images: Images,
    elbo: PerImage | None = None,
    *,
    averaged: bool = False,
) -> Iterator[MetricValue]:
    """Yield the importance-weighted log-likelihood of k, k/2 and k/4 samples, and diagnostics.

    Errors are over the images. An estimate that still rises from k/2 to k is below log p(x). With
    the ELBO of the same images also its gap to the estimate.
    """
    if averaged:
        yield from _in_nats_and_bits(model, "log_likelihood", estimate.log_likelihood, images)
        return
    name = name_given_label(model, "log_likelihood", images)
    yield from _in_nats_and_bits(model, name, estimate.log_likelihood, images)
    yield (
        name_given_label(model, "log_likelihood_half", images),
        estimate_mean(estimate.half, images.groups),
    )
    quarter = estimate_mean(estimate.quarter, images.groups)
    yield name_given_label(model, "log_likelihood_quarter", images), quarter
    yield "iw_gain", estimate_mean(estimate.log_likelihood - estimate.half, images.groups)
    if elbo is not None:
        yield "bound_gap", estimate_mean(estimate.log_likelihood - elbo, images.groups)
    if np.isfinite(estimate.pareto_k).all():
        yield "pareto_k_share", estimate_proportion(is_unreliable(estimate), images.groups)
    yield "effective_samples", low_ess(estimate, images)


def is_unreliable(estimate: IWLogLikelihood) -> np.ndarray:
    """Return for each image whether its weights have too heavy a tail for estimate and error."""
    return estimate.pareto_k > MAX_PARETO_K


def low_ess(estimate: IWLogLikelihood, images: Images) -> Estimate:
    """Return the 5 % quantile of the effective sample size over the images."""
    ess = estimate.ess
    return bootstrap_estimate(
        lambda rows: float(np.quantile(ess[rows], LOW_QUANTILE)), len(ess), images.groups
    )


def sampling_error(estimate: IWLogLikelihood) -> float | None:
    """Return the Monte Carlo standard error of the mean over the images; None for one sample."""
    error = float(np.sqrt(np.square(estimate.std_error).sum()) / len(estimate.std_error))
    return error if math.isfinite(error) else None


def label_warnings(model: object, images: Images) -> Iterator[str]:
    """Yield a warning if a label-conditional model is given no label of some of the images."""
    if is_label_conditional(model) and (count := count_unlabelled(images)):
        yield f"{count:,} of {len(images):,} images have no label that the model knows"


def iw_protocol(estimate: IWLogLikelihood, num_samples: int, defensive: float) -> dict[str, Any]:
    """Return how the estimate was made, and the part of its error that is due to sampling."""
    return {
        "samples_per_image": num_samples,
        "images": len(estimate.log_likelihood),
        "defensive_share": defensive,
        "sampling_error": sampling_error(estimate),
    }


def iw_warnings(estimate: IWLogLikelihood, num_samples: int) -> Iterator[str]:
    """Yield a warning if the estimate is below log p(x) by more than its sampling error says."""
    if num_samples < MIN_DIAGNOSED_SAMPLES:
        return
    unreliable = is_unreliable(estimate).mean()
    if unreliable > MAX_UNRELIABLE_SHARE:
        yield (
            "the importance-weighted likelihood may be too low, and its error too small: the "
            f"weights of {unreliable:.0%} of the images have a heavy tail "
            f"(Pareto k above {MAX_PARETO_K})"
        )
    gain = float(np.mean(estimate.log_likelihood - estimate.half))
    error = sampling_error(estimate)
    if error is not None and gain > 2 * error:
        yield (
            f"the importance-weighted likelihood is too low: it still rises, by {gain:.2g} nats "
            f"from {num_samples // 2:,} to {num_samples:,} samples"
        )


# -- exact likelihood --------------------------------------------------------------------------


def score_metrics(
    model: CanScore,
    images: Images,
    seed: int = 0,
    label_probs: LabelProbs | None = None,
    is_held: Bool[np.ndarray, " n"] | None = None,
) -> Iterator[MetricValue]:
    """Yield the mean log-likelihood of a model that computes it exactly.

    In bits per dimension too if the likelihood is over 8-bit values: a palette must hold every
    image exactly, see `images_held_exactly`. With `label_probs` also the average over the labels,
    log sum_y p(y) p(x | y).
    """
    eight_bit = model.eight_bit and (is_held is None or bool(is_held.all()))
    scores = np.asarray(model.score(images, seed=seed), np.float64)
    name = name_given_label(model, "log_likelihood", images)
    yield from _in_nats_and_bits(model, name, scores, images, eight_bit)
    if label_probs is not None and is_label_conditional(model):
        average = average_over_labels(model, images, label_probs, seed)
        yield from _in_nats_and_bits(model, "log_likelihood", average, images, eight_bit)
    if is_held is not None:
        yield "palette_loss_share", estimate_proportion(~is_held, images.groups)


def images_held_exactly(model: object, images: Images) -> Bool[np.ndarray, " n"] | None:
    """Return which images a palette that is meant to be exact holds exactly, each pixel.

    None for models without such a palette, whose likelihood is of quantized images anyway. A
    palette of the values of the training images may lack values of other images: the model gives
    those images probability 0, and its likelihood is that of the nearest images that it holds.
    """
    if not isinstance(model, HasPalette) or not model.palette_is_exact:
        return None
    return model.holds_exactly(images)


def loss_warning(is_held: Bool[np.ndarray, " n"]) -> str:
    """Say that p(x) of some images is 0."""
    lost, count = int((~is_held).sum()), len(is_held)
    return (
        f"the palette does not hold {lost:,} of {count:,} images exactly: their log p(x) is minus "
        "infinity; the likelihood is that of the quantized images"
    )


def average_over_labels(
    model: CanScore, images: Images, label_probs: LabelProbs, seed: int
) -> PerImage:
    """Return log sum_y p(y) p(x | y) of each image, for a model with an exact likelihood."""
    total = np.full(len(images), -math.inf)
    for label in np.flatnonzero(label_probs).tolist():
        labelled = dataclasses.replace(images, labels=np.full(len(images), label, np.int64))
        scores = np.asarray(model.score(labelled, seed=seed), np.float64)
        total = np.logaddexp(total, scores + math.log(label_probs[label]))
    return total


def label_frequencies(model: object, train: Images | ImageRows) -> LabelProbs | None:
    """Return how frequent each label of a label-conditional model is among the training images.

    None for other models, and without labels.
    """
    train = ImageRows.of(train)
    images = train.images
    if not is_label_conditional(model) or images.labels is None:
        return None
    labels = images.labels[train.rows]
    counts = np.bincount(labels[labels >= 0], minlength=len(images.label_names))
    return counts / counts.sum() if counts.sum() else None


def require_label_frequencies(model: object, train: Images | ImageRows) -> LabelProbs:
    """Return `label_frequencies`. Raises UsageError if there are none."""
    frequencies = label_frequencies(model, train)
    if frequencies is None:
        raise UsageError("average_labels needs training images with labels.")
    return frequencies


def _in_nats_and_bits(
    model: Likelihood,
    name: str,
    values: PerImage,
    images: Images,
    eight_bit: bool | None = None,  # None: as the model says
) -> Iterator[MetricValue]:
    """Yield the mean over images, also in bits per dimension where these are defined."""
    yield name, estimate_mean(values, images.groups)
    if model.eight_bit if eight_bit is None else eight_bit:
        base, _, suffix = name.partition(":")
        bits = f"{base}_bits_per_dim" + (f":{suffix}" if suffix else "")
        yield bits, estimate_mean(bits_per_dim(values, model.info.dims), images.groups)
