"""The noise u ~ N(0, I) of a prior z = f(u): u is z itself unless the prior is learned."""

from __future__ import annotations

from typing import Literal, TypeGuard

import numpy as np
from jaxtyping import Float32

from pinxit.data.images import Images
from pinxit.models.protocols import CanEncode, CanInvert, HasPrior
from pinxit.models.results import LatentPosterior

NoiseMap = Literal["none", "learned", "sphere"]  # from u ~ N(0, I) to z: none where z is u
Latents = Float32[np.ndarray, "n latent"]


def to_noise(model: CanEncode, z: Latents) -> Latents:
    """Return u = f^-1(z) of a model with a learned prior, else z."""
    return model.to_noise(z) if has_learned_prior(model) else z


def from_noise(model: CanEncode, u: Latents) -> Latents:
    """Return z = f(u) of a model with a learned prior, else u."""
    return model.from_noise(u) if has_learned_prior(model) else u


def noise_of(model: CanEncode | CanInvert, images: Images) -> Latents:
    """Return the noise of images, flat: of their posterior means, or that they come from."""
    if isinstance(model, CanInvert):
        return model.invert(images).reshape(len(images), -1)
    return to_noise(model, model.encode(images).flatten().mean)


def noise_map(model: object, posterior: LatentPosterior | None) -> NoiseMap:
    """Return what maps noise u to z, by the model and the posterior of any images."""
    if not (isinstance(model, CanEncode) and has_learned_prior(model)):
        return "none"
    on_sphere = posterior is not None and not posterior.has_lebesgue_density
    return "sphere" if on_sphere else "learned"


def has_learned_prior(model: CanEncode) -> TypeGuard[HasPrior]:
    """Return whether u and z differ."""
    return isinstance(model, HasPrior) and model.prior_is_learned
