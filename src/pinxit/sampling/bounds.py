"""The ELBO's terms of given pictures. Chance is a function of (seed, chunk of pictures) alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from pinxit.data.pictures import Pictures
from pinxit.models.blocks import mix
from pinxit.sampling.inputs import labels_for

CHUNK = 100  # pictures that share a generator

Told = Callable[[int, int], None]  # pictures done, pictures in all


@dataclass(frozen=True)
class Bound:
    """The two terms of the ELBO over some pictures, in nats."""

    distortion: Float64[np.ndarray, " n"]  # -log p(x given z), one z a picture
    rate: Float64[np.ndarray, "n latent"]  # KL(q(z given x) to p(z))

    @property
    def elbo(self) -> Float64[np.ndarray, " n"]:
        return -(self.distortion + self.rate.sum(1))


@torch.inference_mode()
def bound(model: Any, pictures: Pictures, seed: int = 0, told: Told | None = None) -> Bound:
    """Distortion and rate of each picture, with one sample of q(z given x)."""
    parts = []
    for start, x, labels, generator in observed(model, pictures, seed):
        parts.append(model.elbo(x, labels, generator))
        if told:
            told(min(start + CHUNK, len(pictures)), len(pictures))
    return Bound(
        torch.cat([part.distortion for part in parts]).double().cpu().numpy(),
        torch.cat([part.rate for part in parts]).double().cpu().numpy(),
    )


def observed(
    model: Any, pictures: Pictures, seed: int
) -> Iterator[tuple[int, Tensor, Tensor | None, torch.Generator]]:
    """Chunks of the pictures as the likelihood sees them: first row, x, labels, generator."""
    device = next(model.parameters()).device
    for start in range(0, len(pictures), CHUNK):
        some = pictures[start : start + CHUNK]
        batch = some.batch(np.arange(len(some))).to(device)
        generator = torch.Generator(device).manual_seed(mix(seed, start))
        labels = None if labels_for(model, some) is None else batch.labels
        yield start, model.observe(batch, generator), labels, generator
