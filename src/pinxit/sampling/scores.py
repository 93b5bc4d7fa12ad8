"""Log-likelihood of each image, to find the outliers of a data set."""

from __future__ import annotations

import math
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float64

from pinxit.data.images import Images
from pinxit.models.protocols import CanScore, HasPalette

MAX_LATENTS_PER_BATCH = 100_000  # images x samples; bounds memory

T = TypeVar("T", float, np.ndarray)


def bits_per_dim(log_likelihood: T, dims: int) -> T:
    """Convert nats per image into bits per dimension: -log2 p(x) / dims."""
    return -log_likelihood / (dims * math.log(2))


def score_images(
    model: CanScore, images: Images, num_samples: int = 1, seed: int = 0
) -> Float64[np.ndarray, " n"]:
    """Return log p(x) of each image in nats, or what is on average a lower bound of it.

    For a variational model: the ELBO with one sample, else the importance-weighted bound
    (Burda 2015, eq. 8). A score is a function of the image, its name and `seed`.
    """
    batch = max(10, min(1_000, MAX_LATENTS_PER_BATCH // num_samples))
    parts = [
        model.score(images[start : start + batch], samples=num_samples, seed=seed)
        for start in range(0, len(images), batch)
    ]
    return np.concatenate(parts).astype(np.float64)


def score_rows(
    model: CanScore, images: Images, scores: Float64[np.ndarray, " n"]
) -> list[dict[str, Any]]:
    """Return a table row per image, lowest score first.

    Columns: name, label (if any), log_likelihood in nats, and bits_per_dim if the likelihood is
    over 8-bit values. Of an image that the model's palette alters the likelihood is that of the
    altered image: it has no bits per dimension.
    """
    rows = []
    has_bits = np.full(len(images), model.eight_bit)
    if isinstance(model, HasPalette) and model.eight_bit:
        has_bits = model.holds_exactly(images)
    for i in np.argsort(scores, kind="stable").tolist():
        row: dict[str, Any] = {"name": images.names[i] if len(images.names) else str(i)}
        if images.labels is not None:
            label = int(images.labels[i])
            row["label"] = images.label_names[label] if label >= 0 else ""
        score = float(scores[i])
        row["log_likelihood"] = round(score, 4)
        if model.eight_bit:
            row["bits_per_dim"] = None
        if has_bits[i]:
            row["bits_per_dim"] = round(bits_per_dim(score, model.info.dims), 5)
        rows.append(row)
    return rows
