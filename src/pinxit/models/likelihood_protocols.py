"""Interfaces of models with a likelihood: how they observe images and describe p(x|z).

Checked like those of `pinxit.models.protocols`. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float, Float32, UInt8
    from torch import Tensor

    from pinxit.data.batch import Seed
    from pinxit.data.images import Images
    from pinxit.models.results import Elbo


@runtime_checkable
class FastImportanceSampling(Protocol):
    """Computes `log_weights` faster; None for models or inputs it cannot."""

    def importance_log_weights(
        self,
        x: Tensor,
        labels: Tensor | None,
        samples: int,
        seeds: Sequence[int],
        defensive_share: float = 0.0,
    ) -> Float[Tensor, "batch samples"] | None: ...


@runtime_checkable
class CanBinarize(Protocol):
    """Observes images in black and white: what `binarize` returns of uint8 pixels.

    Pixels are unchanged where the model observes grey levels. With `seeds`, one per image, the
    random numbers of an image are its own.
    """

    def binarize(
        self, pixels: UInt8[Tensor, "n h w c"], seeds: Sequence[int]
    ) -> UInt8[Tensor, "n h w c"]: ...


@runtime_checkable
class HasPixelLikelihood(Protocol):
    """Describes p(x|z) of a decoder."""

    @property
    def binary_pixels(self) -> bool:
        """Whether p(x|z) is Bernoulli: decoded images show probabilities."""
        ...

    @property
    def decoder_sigma(self) -> float | None:
        """Standard deviation of a Gaussian p(x|z), pixels in [0, 1]; None: not Gaussian."""
        ...

    @property
    def decoder_sigma_is_learned(self) -> bool: ...


@runtime_checkable
class CanSamplePixels(Protocol):
    """Samples p(x|z) of latents `[n, latent]`: image i is a function of z_i and (seed, i).

    `decode_means` are its means in grey levels, `[n, height, width, channel]`, not rounded.
    """

    def decode_means(
        self, z: np.ndarray, labels: np.ndarray | None = None
    ) -> Float32[np.ndarray, "n height width channel"]: ...
    def sample_pixels(
        self, z: np.ndarray, labels: np.ndarray | None = None, *, seed: Seed = 0
    ) -> Images: ...


@runtime_checkable
class HasMeanImage(Protocol):
    """Decodes with gradients: `mean_image` is the mean of p(x|z), pixels from 0 to 1.

    It takes latents `[n, latent]`, in which it is differentiable unless pixels depend on one
    another, and labels `[n]`.
    """

    mean_is_differentiable: bool

    def mean_image(
        self, z: Tensor, labels: Tensor | None = None
    ) -> Float[Tensor, "n channel height width"]: ...


@runtime_checkable
class HasPoint(Protocol):
    """q(z|x) is one point for each image if `has_point_posterior`; its spread is a convention.

    What depends on a spread, bounds of log p(x) above all, says then nothing of the model: scaling
    the latents changes it, and no image. `point_terms` are those of the decoded point.
    """

    has_point_posterior: bool

    def point_terms(self, x: Tensor, labels: Tensor | None) -> Elbo: ...


def has_point_posterior(model: object) -> bool:
    """Return whether q(z|x) of a model is one point for each image."""
    return isinstance(model, HasPoint) and model.has_point_posterior
