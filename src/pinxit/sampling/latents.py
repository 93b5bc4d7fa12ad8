"""Ways through the latent space: between two latents, along one, and which ones matter."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float32

from pinxit.data.images import Images
from pinxit.errors import UsageError
from pinxit.models.abilities import require
from pinxit.models.protocols import HasELBO, HasLearnedPrior
from pinxit.models.results import Posterior
from pinxit.sampling.inputs import labels_for

ACTIVE_UNIT_VARIANCE = 0.01  # of the variance over x of E[z given x] (Burda 2015, sec. 5)
TRAVERSAL_RANGE = 3.0  # a traversal goes from -REACH to REACH

InterpolationPath = Literal["spherical", "linear"]
Latents = Float32[np.ndarray, "n latent"]


def interpolate(
    a: Float32[np.ndarray, " latent"],
    b: Float32[np.ndarray, " latent"],
    steps: int,
    path: InterpolationPath = "spherical",
) -> Latents:
    """`steps` latents from `a` to `b`, both included.

    Spherical (Shoemake 1985; White 2016) keeps to the lengths that a Gaussian's samples have,
    where a straight line passes nearer to 0. Latents of different lengths change length evenly.
    Raises UsageError for fewer than 2 steps.
    """
    if steps < 2:
        raise UsageError(f"an interpolation has at least 2 steps, not {steps}.")
    t = np.linspace(0, 1, steps)[:, None]
    if path == "linear":
        return ((1 - t) * a + t * b).astype(np.float32)
    return _spherical(a.astype(np.float64), b.astype(np.float64), t).astype(np.float32)


def _spherical(a: np.ndarray, b: np.ndarray, t: np.ndarray) -> np.ndarray:
    """|.| (sin((1-t) w) a/|a| + sin(t w) b/|b|) / sin w, w the angle between a and b."""
    lengths = np.linalg.norm(a), np.linalg.norm(b)
    if min(lengths) == 0:
        return (1 - t) * a + t * b
    one, two = a / lengths[0], b / lengths[1]
    angle = np.arctan2(np.linalg.norm(one - two), np.linalg.norm(one + two)) * 2
    if angle < 1e-6 or np.pi - angle < 1e-6:  # the same direction, or opposite: no one circle
        return (1 - t) * a + t * b
    direction = (np.sin((1 - t) * angle) * one + np.sin(t * angle) * two) / np.sin(angle)
    return ((1 - t) * lengths[0] + t * lengths[1]) * direction


def interpolate_images(
    model: Any, pair: Images, steps: int, path: InterpolationPath = "spherical"
) -> Images:
    """The way from the first of two images to the second.

    Raises UsageError for other than two images, PinxitError where the model has no latents.
    """
    require(model, "encode")
    if len(pair) != 2:
        raise UsageError(f"an interpolation goes from one image to another, not {len(pair)}.")
    mean = model.encode(pair).mean
    labels = labels_for(model, pair)
    z = interpolate(mean[0], mean[1], steps, path)
    if labels is None:
        return model.decode(z)
    first = np.arange(steps) < steps / 2  # a label is one or the other: it changes halfway
    return model.decode(z, np.where(first, labels[0], labels[1]))


def interpolate_seeds(
    model: Any, seeds: tuple[int, int], steps: int, path: InterpolationPath = "spherical"
) -> Images:
    """The way from the first sample of one seed to the first sample of another.

    The noise that samples are made from is interpolated, then taken to latents by the prior.
    """
    from pinxit.nn.rng import per_image_normal

    require(model, "encode")
    size = latent_dim(model)
    ends = [per_image_normal(1, (size,), seed)[0].numpy() for seed in seeds]
    noise = interpolate(ends[0], ends[1], steps, path)
    return model.decode(model.from_noise(noise) if isinstance(model, HasLearnedPrior) else noise)


def latent_dim(model: Any) -> int:
    """Numbers in an image's latent."""
    return int(model.config.latent_dim)


class LatentActivity(NamedTuple):
    """What each latent does over some images."""

    variance: Float32[np.ndarray, " latent"]  # over x of E[z given x]
    rate: Float32[np.ndarray, " latent"]  # KL(q(z given x) to p(z)), mean over x, nats

    @property
    def active(self) -> np.ndarray:
        """Which latents are active units (Burda 2015, sec. 5)."""
        return self.variance > ACTIVE_UNIT_VARIANCE

    @property
    def order(self) -> np.ndarray:
        """Numbers of the latents, the most active (highest KL) first."""
        return np.argsort(-self.rate, kind="stable")


def latent_activity(
    model: Any, images: Images, posterior: Posterior | None = None
) -> LatentActivity:
    """How active each latent is: the model's own KL where it has one, else that to N(0, I)."""
    require(model, "encode")
    if posterior is None:
        posterior = encoded(model, images)
    rate = _model_rate(model, images) if isinstance(model, HasELBO) else gaussian_kl(posterior)
    return LatentActivity(posterior.mean.var(0), rate.mean(0))


def encoded(model: Any, images: Images) -> Posterior:
    """q(z given x) of each image; PinxitError where the model has no latents."""
    return require(model, "encode").encode(images)


def gaussian_kl(posterior: Posterior) -> Latents:
    """1/2 (sigma^2 + mu^2 - 1) - log sigma of each latent, in nats (Kingma & Welling 2013)."""
    mean, std = posterior
    return 0.5 * (std**2 + mean**2 - 1) - np.log(std)


def _model_rate(model: Any, images: Images, most: int = 1_000) -> Latents:
    from pinxit.sampling.elbo import elbo_terms

    return elbo_terms(model, images.evenly_spaced(most)).rate.astype(np.float32)


class Traversal(NamedTuple):
    """Images along single latents: row r goes along latent `latents[r]`."""

    images: Images  # [rows * steps]
    latents: list[int]
    rate: list[float]  # nats
    steps: int


def traverse(
    model: Any, images: Images, latents: int = 8, start: Images | None = None, steps: int = 11
) -> Traversal:
    """Each of the most active latents from -3 to 3, all others as the image `start` has them.

    `images` tell which latents are active. Without `start` the others are as the most typical
    of `images` has them. Raises UsageError for more latents than there are.
    """
    posterior = encoded(model, images)
    size = posterior.mean.shape[1]
    if not 1 <= latents <= size:
        raise UsageError(f"this model has {size} latents; {latents} cannot be shown.")
    found = latent_activity(model, images, posterior)
    rows = found.order[:latents]
    if start is None:
        start = images[most_typical_image(posterior.mean)]
    centre = model.encode(start).mean[0]
    z = np.tile(centre, (latents, steps, 1))
    z[np.arange(latents), :, rows] = np.linspace(-TRAVERSAL_RANGE, TRAVERSAL_RANGE, steps)
    labels = labels_for(model, start)
    labels = None if labels is None else np.repeat(labels[:1], latents * steps)
    made = model.decode(z.reshape(-1, size).astype(np.float32), labels)
    return Traversal(made, rows.tolist(), found.rate[rows].tolist(), steps)


def most_typical_image(mean: Latents) -> int:
    """The image whose latent is nearest to the median of all."""
    return int(np.argmin(((mean - np.median(mean, 0)) ** 2).sum(1)))
