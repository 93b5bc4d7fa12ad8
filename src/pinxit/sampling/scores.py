"""Log-likelihood of each image, to find the outliers of a data set."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Bool, Float64

from pinxit.data.image_rows import MAX_BATCH_IMAGES, ImageRows
from pinxit.data.images import Images
from pinxit.errors import UsageError
from pinxit.models.protocols import CanScore, HasPalette
from pinxit.sampling.inputs import match_labels

MAX_LATENTS_PER_BATCH = 100_000  # images x samples; bounds memory

T = TypeVar("T", float, np.ndarray)


def bits_per_dim(log_likelihood: T, dims: int) -> T:
    """Convert nats per image into bits per dimension: -log2 p(x) / dims."""
    return -log_likelihood / (dims * math.log(2))


def check_score_options(model: CanScore, samples: int | None, seed: int | None) -> None:
    """Raise UsageError for an option that is set, but has no effect on the scores of a model.

    An exact likelihood has no importance samples, and random numbers only where the pixels are
    binarized by chance.
    """
    if not model.likelihood_is_exact:
        return
    if samples is not None:
        raise UsageError("samples is of no effect: this likelihood is exact; leave it out.")
    is_random = getattr(getattr(model, "config", None), "binarize", None) == "dynamic"
    if seed is not None and not is_random:
        raise UsageError(
            "seed is of no effect: this likelihood has no random numbers; leave it out."
        )


def scores_per_batch(num_samples: int) -> int:
    """Return how many images are scored at a time."""
    return max(10, min(MAX_BATCH_IMAGES, MAX_LATENTS_PER_BATCH // num_samples))


def score_images(
    model: CanScore, images: Images | ImageRows, num_samples: int = 1, seed: int = 0
) -> Float64[np.ndarray, " n"]:
    """Return log p(x) of each image in nats, or what is on average a lower bound of it.

    For a variational model: the ELBO with one sample, else the importance-weighted bound
    (Burda 2015, eq. 8). A score is a function of the image, its name and `seed`.
    """
    batches = ImageRows.of(images).batches(scores_per_batch(num_samples))
    parts = [
        model.score(match_labels(model, batch), samples=num_samples, seed=seed) for batch in batches
    ]
    return np.concatenate(parts).astype(np.float64)


def score_rows(
    model: CanScore, images: Images | ImageRows, scores: Float64[np.ndarray, " n"]
) -> Iterator[dict[str, Any]]:
    """Yield a table row per image, lowest score first.

    Columns: name, label (if any), log_likelihood in nats, and bits_per_dim if the likelihood is
    over 8-bit values. Of an image that the model's palette alters the likelihood is that of the
    altered image: it has no bits per dimension.
    """
    images = ImageRows.of(images)
    has_bits = np.concatenate([images_with_bits(model, batch) for batch in images.batches()])
    for i in np.argsort(scores, kind="stable").tolist():
        row: dict[str, Any] = {"name": images.name(i)}
        if images.images.labels is not None:
            row["label"] = images.label(i) or ""
        score = float(scores[i])
        row["log_likelihood"] = round(score, 4)
        if model.eight_bit:
            row["bits_per_dim"] = None
        if has_bits[i]:
            row["bits_per_dim"] = round(bits_per_dim(score, model.info.dims), 5)
        yield row


def images_with_bits(model: CanScore, images: Images) -> Bool[np.ndarray, " n"]:
    """Return whether the score of each image has bits per dimension, see `score_rows`."""
    if isinstance(model, HasPalette) and model.eight_bit:
        return model.holds_exactly(images)
    return np.full(len(images), model.eight_bit)
