"""Compute the terms of the evidence lower bound (ELBO) of images.

Every image has its own random numbers, a function of (seed, its name): its terms do not depend on
the other images.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from pinxit.console import ProgressCallback
from pinxit.data.images import Images
from pinxit.models.likelihood_protocols import HasPoint
from pinxit.models.protocols import HasELBO
from pinxit.nn.image_seeds import Draw, image_seeds
from pinxit.sampling.inputs import is_label_conditional

ELBO_BATCH = 100  # images


@dataclass(frozen=True)
class ElboTerms:
    """Distortion and rate of each image, in nats."""

    distortion: Float64[np.ndarray, " n"]  # -log p(x|z) for one sample z of q(z|x)
    rate: Float64[np.ndarray, "n latent"]  # KL(q(z|x) || p(z)), per latent

    @property
    def elbo(self) -> Float64[np.ndarray, " n"]:
        return -(self.distortion + self.rate.sum(1))


class LikelihoodBatch(NamedTuple):
    """Pixels preprocessed for the likelihood: binarized, dequantized or 8-bit."""

    start: int  # row of its first image
    x: Float[Tensor, "batch channel height width"]
    labels: Int64[Tensor, " batch"] | None  # None unless the model conditions on them
    images: Images  # of this batch, for their seeds


@torch.inference_mode()
def elbo_terms(
    model: HasELBO, images: Images, seed: int = 0, progress: ProgressCallback | None = None
) -> ElboTerms:
    """Return distortion and rate of each image, from one sample of q(z|x) per image.

    Of a point in place of q(z|x) they are those of the point, and the rate is no KL.
    """
    parts = []
    for batch in iter_likelihood_batches(model, images, seed):
        if isinstance(model, HasPoint) and model.has_point_posterior:
            parts.append(model.point_terms(batch.x, batch.labels))
        else:
            seeds = image_seeds(batch.images, seed, Draw.ELBO)
            parts.append(model.elbo(batch.x, batch.labels, seeds))
        if progress:
            progress(min(batch.start + ELBO_BATCH, len(images)), len(images))
    return ElboTerms(
        torch.cat([part.distortion for part in parts]).double().cpu().numpy(),
        torch.cat([part.rate for part in parts]).double().cpu().numpy(),
    )


def iter_likelihood_batches(model: HasELBO, images: Images, seed: int) -> Iterator[LikelihoodBatch]:
    """Preprocess the images in batches of `ELBO_BATCH`, on the model's device."""
    for start in range(0, len(images), ELBO_BATCH):
        part = images[start : start + ELBO_BATCH]
        batch = part.batch(np.arange(len(part))).to(model.device)
        labels = batch.labels if is_label_conditional(model) else None
        x = model.observe(batch, image_seeds(part, seed, Draw.OBSERVATION))
        yield LikelihoodBatch(start, x, labels, part)
