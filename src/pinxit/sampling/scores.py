"""Which images a model finds unusual."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from jaxtyping import Float64

from pinxit.data.images import Images
from pinxit.models.abilities import require
from pinxit.nn.rng import mix_seed

MAX_LATENTS_PER_BATCH = (
    100_000  # latents that the model is given at once: memory does not grow with images
)


def score_images(
    model: Any, images: Images, samples: int = 1, seed: int = 0
) -> Float64[np.ndarray, " n"]:
    """Lower bound of log p(x) of each image in nats: the ELBO for 1 sample, IW-k for more.

    Raises PinxitError where the model has no likelihood.
    """
    require(model, "score")
    chunk = max(10, min(1_000, MAX_LATENTS_PER_BATCH // samples))
    parts = [
        model.score(images[start : start + chunk], samples=samples, seed=mix_seed(seed, start))
        for start in range(0, len(images), chunk)
    ]
    return np.concatenate(parts).astype(np.float64)


def score_rows(
    model: Any, images: Images, found: Float64[np.ndarray, " n"]
) -> list[dict[str, Any]]:
    """A row an image, most unusual first: name, label, nats, and bits per dimension where the
    likelihood is over 8-bit values."""
    rows = []
    for i in np.argsort(found, kind="stable").tolist():
        row: dict[str, Any] = {"name": images.names[i] if len(images.names) else str(i)}
        if images.labels is not None:
            label = int(images.labels[i])
            row["label"] = images.label_names[label] if label >= 0 else ""
        row["log_likelihood"] = round(float(found[i]), 4)
        if model.eight_bit:
            row["bits_per_dim"] = round(-float(found[i]) / (model.info.dims * math.log(2)), 5)
        rows.append(row)
    return rows
