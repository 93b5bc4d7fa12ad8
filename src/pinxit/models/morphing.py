"""The interface of models that generate what lies between two images."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np

from pinxit.data.images import Images
from pinxit.models.protocols import CanInvert


@runtime_checkable
class CanMorph(CanInvert, Protocol):
    """Generates images between two samples, or between the drawings of two captions.

    Takes noise `[n, *noise_shape]` and weights `[n]`, from 0 (the first) to 1 (the second).
    """

    def between_samples(
        self, noise: np.ndarray, weights: np.ndarray, seeds: tuple[int, int]
    ) -> Images: ...

    def between_texts(
        self,
        noise: np.ndarray,
        weights: np.ndarray,
        texts: tuple[str, str],
        language: str | None = None,
    ) -> Images: ...
