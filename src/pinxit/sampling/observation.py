"""Images as a model observes them: the binarized test set, the same for every metric and family."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from pinxit.data.images import Images
from pinxit.models.protocols import CanBinarize
from pinxit.nn.image_seeds import Draw, image_seeds

OBSERVE_BATCH = 1_000  # images; bounds memory


def observe_images(model: object, images: Images, seed: int = 0) -> Images:
    """Return the images in black and white if the model observes them so, else unchanged.

    Each pixel is sampled with its grey value as probability, or thresholded, as the model was
    trained. The random numbers of an image are a function of (seed, its name): likelihoods,
    reconstructions and distances see the same images.
    """
    if not isinstance(model, CanBinarize) or not len(images):
        return images
    parts = []
    for start in range(0, len(images), OBSERVE_BATCH):
        part = images[start : start + OBSERVE_BATCH]
        seeds = image_seeds(part, seed, Draw.OBSERVATION)
        pixels = torch.from_numpy(np.array(part.pixels))
        parts.append(model.binarize(pixels, seeds).numpy())
    return dataclasses.replace(images, pixels=np.concatenate(parts))
