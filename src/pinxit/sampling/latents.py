"""The latent space of a model: interpolation, traversal, and how active each latent is.

With a learned prior z = f(u), u ~ N(0, I), all of it is done in u: there each latent of the prior
has mean 0 and variance 1, independent of the others.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeGuard

import numpy as np
from jaxtyping import Bool, Float32, Int

from pinxit.data.images import Images
from pinxit.errors import UsageError
from pinxit.models.protocols import CanEncode, HasELBO, HasPrior
from pinxit.models.results import Posterior
from pinxit.nn.rng import per_image_normal
from pinxit.sampling.elbo import ElboTerms, elbo_terms
from pinxit.sampling.inputs import labels_for

ACTIVE_UNIT_VARIANCE = 0.01  # of E[z|x] over x; above it a latent is active (Burda 2015, sec. 5)
TRAVERSAL_RANGE = 3.0  # a traversal runs from -3 to 3, standard deviations of N(0, I)
MAX_KL_IMAGES = 1_000  # for the mean KL of a model with an ELBO

InterpolationPath = Literal["spherical", "linear"]
Latents = Float32[np.ndarray, "n latent"]


# -- the prior's noise space --------------------------------------------------------------------


def to_noise(model: CanEncode, z: Latents) -> Latents:
    """Return u = f^-1(z) of a model with a learned prior, else z."""
    return model.to_noise(z) if _has_learned_prior(model) else z


def from_noise(model: CanEncode, u: Latents) -> Latents:
    """Return z = f(u) of a model with a learned prior, else u."""
    return model.from_noise(u) if _has_learned_prior(model) else u


def _has_learned_prior(model: CanEncode) -> TypeGuard[HasPrior]:
    return isinstance(model, HasPrior) and model.prior_is_learned


# -- interpolation -----------------------------------------------------------------------------


def interpolate(
    a: Float32[np.ndarray, " latent"],
    b: Float32[np.ndarray, " latent"],
    steps: int,
    path: InterpolationPath = "spherical",
) -> Latents:
    """Return `steps` latents from `a` to `b`, both included.

    Spherical interpolation (Shoemake 1985; White 2016) keeps the norm of Gaussian samples; a
    straight line comes closer to 0. Norms are interpolated linearly.

    Raises UsageError for fewer than 2 steps.
    """
    if steps < 2:
        raise UsageError(f"an interpolation has at least 2 steps, not {steps}.")
    t = np.linspace(0, 1, steps)[:, None]
    if path == "linear":
        return ((1 - t) * a + t * b).astype(np.float32)
    return _slerp(a.astype(np.float64), b.astype(np.float64), t).astype(np.float32)


def _slerp(a: np.ndarray, b: np.ndarray, t: np.ndarray) -> np.ndarray:
    """((1-t)|a| + t|b|) (sin((1-t) w) a/|a| + sin(t w) b/|b|) / sin w, w the angle of a and b."""
    norms = np.linalg.norm(a), np.linalg.norm(b)
    if min(norms) == 0:
        return (1 - t) * a + t * b
    u, v = a / norms[0], b / norms[1]
    angle = np.arctan2(np.linalg.norm(u - v), np.linalg.norm(u + v)) * 2
    if angle < 1e-6 or np.pi - angle < 1e-6:  # parallel or opposite: no unique great circle
        return (1 - t) * a + t * b
    direction = (np.sin((1 - t) * angle) * u + np.sin(t * angle) * v) / np.sin(angle)
    return ((1 - t) * norms[0] + t * norms[1]) * direction


def interpolate_images(
    model: CanEncode, pair: Images, steps: int, path: InterpolationPath = "spherical"
) -> Images:
    """Decode the path between the posterior means of two images, in the prior's noise space.

    A label-conditional model changes from the first label to the second halfway. Raises
    UsageError for any other number of images.
    """
    if len(pair) != 2:
        raise UsageError(f"interpolation needs two images, not {len(pair)}.")
    ends = to_noise(model, model.encode(pair).mean)
    z = from_noise(model, interpolate(ends[0], ends[1], steps, path))
    labels = labels_for(model, pair)
    if labels is None:
        return model.decode(z)
    is_first_half = np.arange(steps) < steps / 2
    return model.decode(z, np.where(is_first_half, labels[0], labels[1]))


def interpolate_seeds(
    model: CanEncode, seeds: tuple[int, int], steps: int, path: InterpolationPath = "spherical"
) -> Images:
    """Decode the path between the first samples of two seeds.

    The noise is interpolated; a learned prior then maps it to latents.
    """
    ends = [per_image_normal(1, (model.latent_dim,), seed)[0].numpy() for seed in seeds]
    return model.decode(from_noise(model, interpolate(ends[0], ends[1], steps, path)))


# -- activity of latents -----------------------------------------------------------------------


class LatentActivity(NamedTuple):
    """How much each latent depends on the image; of a learned prior each latent of u."""

    mean: Latents  # E[z|x] of each image; for a learned prior f^-1 of it
    # KL(q(z|x) || p(z)) of each latent, of each image or evenly spaced ones, nats; None for a
    # learned prior, whose latents depend on one another: only their sum is a KL
    image_rate: Latents | None
    total_rate: float  # sum over latents, mean over x, nats

    @property
    def rate(self) -> Float32[np.ndarray, " latent"] | None:
        """KL of each latent, mean over x, nats; None for a learned prior."""
        return None if self.image_rate is None else self.image_rate.mean(0)

    @property
    def variance(self) -> Float32[np.ndarray, " latent"]:
        """Variance of `mean` over the images, where that of the prior is 1."""
        return self.mean.var(0)

    @property
    def active(self) -> Bool[np.ndarray, " latent"]:
        """Which latents are active units (Burda 2015, sec. 5)."""
        return self.variance > ACTIVE_UNIT_VARIANCE

    @property
    def order(self) -> Int[np.ndarray, " latent"]:
        """Latents by decreasing KL; by decreasing variance where that is not defined."""
        activity = self.variance if self.rate is None else self.rate
        return np.argsort(-activity, kind="stable")


def latent_activity(
    model: CanEncode,
    images: Images,
    posterior: Posterior | None = None,
    terms: ElboTerms | None = None,
) -> LatentActivity:
    """Measure the activity of each latent; `posterior` and `terms` save computing them again.

    The KL is that of the model's ELBO if it has one, else that to N(0, I).
    """
    posterior = model.encode(images) if posterior is None else posterior
    if terms is None and isinstance(model, HasELBO):
        terms = elbo_terms(model, images.evenly_spaced(MAX_KL_IMAGES))
    rate = gaussian_kl(posterior) if terms is None else terms.rate.astype(np.float32)
    total, mean = float(rate.sum(1).mean()), to_noise(model, posterior.mean)
    return LatentActivity(mean, None if _has_learned_prior(model) else rate, total)


def gaussian_kl(posterior: Posterior) -> Latents:
    """KL(N(mu, sigma^2) || N(0, 1)) = 1/2 (sigma^2 + mu^2 - 1) - log sigma, in nats
    (Kingma & Welling 2013, app. B)."""
    mean, std = posterior
    return 0.5 * (std**2 + mean**2 - 1) - np.log(std)


# -- traversal ---------------------------------------------------------------------------------


class Traversal(NamedTuple):
    """Images along single latents: row r moves along latent `latents[r]`."""

    images: Images  # [rows * steps]
    latents: list[int]
    rate: list[float] | None  # KL of these latents, nats; None for a learned prior
    variance: list[float]  # of their posterior means over the images
    steps: int


def traverse(
    model: CanEncode,
    images: Images,
    num_latents: int = 8,
    start: Images | None = None,
    steps: int = 11,
) -> Traversal:
    """Move each of the most active latents from -3 to 3; the others stay at those of `start`.

    Those of a learned prior z = f(u) are moved in u, so that -3 to 3 are standard deviations of
    the prior. Activity is measured on `images`. Without `start` the image nearest to the median
    latent is used. Raises UsageError for more latents than the model has.
    """
    activity = latent_activity(model, images)
    size = activity.mean.shape[1]
    if not 1 <= num_latents <= size:
        raise UsageError(f"this model has {size} latents; {num_latents} cannot be shown.")
    latents = activity.order[:num_latents]
    if start is None:
        start = images[nearest_to_median(activity.mean)]
    u = np.tile(to_noise(model, model.encode(start).mean)[0], (num_latents, steps, 1))
    values = np.linspace(-TRAVERSAL_RANGE, TRAVERSAL_RANGE, steps)
    u[np.arange(num_latents), :, latents] = values
    z = from_noise(model, u.reshape(-1, size).astype(np.float32))
    labels = labels_for(model, start)
    labels = None if labels is None else np.repeat(labels[:1], num_latents * steps)
    rate = None if activity.rate is None else activity.rate[latents].tolist()
    variance = activity.variance[latents].tolist()
    return Traversal(model.decode(z, labels), latents.tolist(), rate, variance, steps)


def nearest_to_median(mean: Latents) -> int:
    """Return the row whose latent is nearest to the median of all."""
    return int(np.argmin(((mean - np.median(mean, 0)) ** 2).sum(1)))
