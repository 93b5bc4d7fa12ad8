"""Latents in levels from coarse to fine, whose posterior is no single Gaussian. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32

from pinxit.errors import PinxitError, UsageError
from pinxit.models.generation import GenerationParams

LevelShape = tuple[int, int, int]  # channels, rows, columns


@runtime_checkable
class HasLevels(Protocol):
    """`level_shapes` are those of its latents' levels, one after another; () without levels.

    The prior of a level, which depends on the coarser ones, is N(0, I) in these latents. With
    `posterior_is_gaussian` q(z|x) is the Gaussian that `encode` returns; else the mean and standard
    deviation that it returns of a level are those given the means of the coarser ones.
    """

    level_shapes: tuple[LevelShape, ...]
    posterior_is_gaussian: bool


def level_shapes(model: object) -> tuple[LevelShape, ...]:
    """Return the shapes of a model's levels; () of a model without."""
    return model.level_shapes if isinstance(model, HasLevels) else ()


def latent_temperatures(
    shapes: Sequence[LevelShape], num_latents: int, params: GenerationParams
) -> Float32[np.ndarray, " latent"]:
    """Return the temperature of each latent.

    Raises UsageError for temperatures of levels of which there are not as many.
    """
    values = params.level_temperatures
    if values is None:
        return np.full(num_latents, params.temperature, np.float32)
    if len(values) != len(shapes):
        raise UsageError(
            f"level_temperatures are one for each level, from coarse to fine: {len(shapes)} for "
            f"this model, not {len(values)}."
        )
    sizes = [int(np.prod(shape)) for shape in shapes]
    return np.repeat(np.array(values, np.float32), sizes)


def has_gaussian_posterior(model: object) -> bool:
    """Return whether the posterior of a model with latents is one Gaussian for each image."""
    return not isinstance(model, HasLevels) or model.posterior_is_gaussian


def require_gaussian_posterior(model: object, task: str) -> None:
    """Raise PinxitError for a model whose posterior is no Gaussian: `task` takes its density."""
    if not has_gaussian_posterior(model):
        raise PinxitError(
            f"{task} needs one Gaussian q(z|x) for each image. In this run's ladder of latents the "
            "posterior of a level depends on the coarser levels; use --latents vector or grid."
        )
