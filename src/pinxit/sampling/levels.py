"""What each level of a ladder of latents adds: reconstructions from the coarse levels alone."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float32

from pinxit.data.images import Images
from pinxit.errors import UsageError
from pinxit.models.levels import level_shapes
from pinxit.models.protocols import CanEncode
from pinxit.sampling.inputs import labels_for

Latents = Float32[np.ndarray, "n latent"]


def keep_levels(model: CanEncode, z: Latents, levels: int) -> Latents:
    """Return latents with the first `levels` as they are, and finer ones at their prior mean.

    Raises UsageError for a model without levels, and for more than it has.
    """
    shapes = level_shapes(model)
    if not shapes:
        raise UsageError("levels are of a VAE trained with --latents ladder; this model has none.")
    if not 1 <= levels <= len(shapes):
        raise UsageError(f"this model has {len(shapes)} levels of latents, not {levels}.")
    kept = sum(map(math.prod, shapes[:levels]))
    return np.where(np.arange(z.shape[1]) < kept, z, 0).astype(np.float32)


def reconstruct_from_levels(model: CanEncode, images: Images, levels: int) -> Images:
    """Reconstruct images from their first `levels` alone; the same as `reconstruct` with all."""
    z = keep_levels(model, model.encode(images).flatten().mean, levels)
    return model.decode(z, labels_for(model, images))
