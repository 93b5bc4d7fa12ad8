"""The ELBO's terms of given images. Chance is a function of (seed, chunk of images) alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from pinxit.console import ProgressCallback
from pinxit.data.images import Images
from pinxit.nn.rng import mix_seed
from pinxit.sampling.inputs import labels_for

ELBO_BATCH = 100  # images that share a generator


@dataclass(frozen=True)
class ElboTerms:
    """The two terms of the ELBO over some images, in nats."""

    distortion: Float64[np.ndarray, " n"]  # -log p(x given z), one z an image
    rate: Float64[np.ndarray, "n latent"]  # KL(q(z given x) to p(z))

    @property
    def elbo(self) -> Float64[np.ndarray, " n"]:
        return -(self.distortion + self.rate.sum(1))


@torch.inference_mode()
def elbo_terms(
    model: Any, images: Images, seed: int = 0, told: ProgressCallback | None = None
) -> ElboTerms:
    """Distortion and rate of each image, with one sample of q(z given x)."""
    parts = []
    for start, x, labels, generator in observe_batches(model, images, seed):
        parts.append(model.elbo(x, labels, generator))
        if told:
            told(min(start + ELBO_BATCH, len(images)), len(images))
    return ElboTerms(
        torch.cat([part.distortion for part in parts]).double().cpu().numpy(),
        torch.cat([part.rate for part in parts]).double().cpu().numpy(),
    )


def observe_batches(
    model: Any, images: Images, seed: int
) -> Iterator[tuple[int, Tensor, Tensor | None, torch.Generator]]:
    """Chunks of the images as the likelihood sees them: first row, x, labels, generator."""
    device = next(model.parameters()).device
    for start in range(0, len(images), ELBO_BATCH):
        some = images[start : start + ELBO_BATCH]
        batch = some.batch(np.arange(len(some))).to(device)
        generator = torch.Generator(device).manual_seed(mix_seed(seed, start))
        labels = None if labels_for(model, some) is None else batch.labels
        yield start, model.observe(batch, generator), labels, generator
