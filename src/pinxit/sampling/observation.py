"""Images as a model observes them: the binarized test set, the same for every metric and family."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch

from pinxit.data.images import Images
from pinxit.models.likelihood_protocols import CanBinarize, HasMeanImage
from pinxit.nn.image_seeds import Draw, image_seeds
from pinxit.nn.rng import mix_seed, per_image_seeds

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


def is_black_and_white(images: Images) -> bool:
    """Return whether every pixel value is 0 or 255."""
    return all(bool(np.isin(image, (0, 255)).all()) for image in images)


def mean_observation(model: object, images: Images, seed: int = 0) -> Images:
    """Return the mean of the observed images over their random numbers.

    The mean of a pixel that is sampled by its grey value is this value. Thresholded pixels are not
    random.
    """
    few = images[: min(8, len(images))]
    first, second = (observe_images(model, few, seed + i).pixels for i in (0, 1))
    is_random = not np.array_equal(first, second)
    return images if is_random else observe_images(model, images, seed)


def comparable_images(model: object, images: Images, generated: Images, seed: int = 0) -> Images:
    """Return the images that generated ones are like.

    Black-and-white samples are like the observed images, decoded means like the mean of these.
    """
    show = observe_images if is_black_and_white(generated) else mean_observation
    return show(model, images, seed)


def samples_pixels(model: object) -> bool:
    """Return whether `sample` shows samples of p(x|z), not its mean: pixels see one another."""
    return isinstance(model, HasMeanImage) and not model.mean_is_differentiable


def decode_as_sampled(
    model: Any, z: np.ndarray, labels: np.ndarray | None, seed: int = 0, start: int = 0
) -> Images:
    """Decode latents as `sample` shows its own: image i is a function of z_i and (seed, start + i).

    `model` decodes latents `[n, latent]` (`CanEncode`).
    """
    if not samples_pixels(model):
        return model.decode(z, labels)
    seeds = [mix_seed(own, 1) for own in per_image_seeds(seed, len(z), start)]
    return model.sample_pixels(z, labels, seed=seeds)
