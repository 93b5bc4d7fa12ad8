"""The latent space of a model: interpolation, traversal, and how active each latent is.

With a learned prior z = f(u), u ~ N(0, I), all of it is done in u: there each latent of the prior
has mean 0 and variance 1, independent of the others.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from pinxit.data.images import Images
from pinxit.errors import UsageError
from pinxit.models.levels import LevelShape, level_shapes
from pinxit.models.likelihood_protocols import has_point_posterior
from pinxit.models.morphing import CanMorph
from pinxit.models.protocols import CanEncode, CanInvert, HasELBO
from pinxit.models.results import LatentPosterior
from pinxit.nn.rng import per_image_normal
from pinxit.sampling.elbo import ElboTerms, elbo_terms
from pinxit.sampling.grids import rows_with_text, save_sheet
from pinxit.sampling.inputs import labels_for
from pinxit.sampling.prior_noise import (
    NoiseMap,
    from_noise,
    has_learned_prior,
    noise_map,
    noise_of,
    to_noise,
)

ACTIVE_UNIT_VARIANCE = 0.01  # of E[z|x] over x; above it a latent is active (Burda 2015, sec. 5)
TRAVERSAL_RANGE = 3.0  # a traversal runs from -3 to 3, standard deviations of N(0, I)
MAX_TRAVERSED_IMAGES = 2_000  # over which the activity of each latent is averaged
MAX_KL_IMAGES = 1_000  # for the mean KL of a model with an ELBO

InterpolationPath = Literal["spherical", "linear"]
Latents = Float32[np.ndarray, "n latent"]


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
    model: CanEncode | CanInvert, pair: Images, steps: int, path: InterpolationPath = "spherical"
) -> Images:
    """Decode the path between the noise of two images: of posterior means, see `noise_of`.

    A label-conditional model changes from the first label to the second halfway. Raises
    UsageError for any other number of images.
    """
    if len(pair) != 2:
        raise UsageError(f"interpolation needs two images, not {len(pair)}.")
    ends = noise_of(model, pair)
    noise = interpolate(ends[0], ends[1], steps, path)
    if isinstance(model, CanInvert):
        return model.from_noise(noise.reshape(steps, *model.noise_shape))
    z = from_noise(model, noise)
    labels = labels_for(model, pair)
    if labels is None:
        return model.decode(z)
    is_first_half = np.arange(steps) < steps / 2
    return model.decode(z, np.where(is_first_half, labels[0], labels[1]))


def interpolate_seeds(
    model: CanEncode | CanMorph,
    seeds: tuple[int, int],
    steps: int,
    path: InterpolationPath = "spherical",
) -> Images:
    """Decode the path between the first samples of two seeds.

    The noise is interpolated; a learned prior then maps it to latents. The samples of a flow have
    conditions, which are interpolated too: both ends are what `sample` returns.
    """
    shape = model.noise_shape if isinstance(model, CanMorph) else (model.latent_dim,)
    noise = _noise_between(shape, seeds, steps, path)
    if isinstance(model, CanMorph):
        return model.between_samples(noise, np.linspace(0, 1, steps), seeds)
    return model.decode(from_noise(model, noise))


def interpolate_texts(
    model: CanMorph,
    texts: tuple[str, str],
    steps: int,
    path: InterpolationPath = "spherical",
    seeds: tuple[int, int] = (0, 0),
    language: str | None = None,
) -> Images:
    """Generate the path between two captions: both ends are what `draw` returns for these seeds.

    Raises UsageError for a model without captions, and for a text that `draw` refuses.
    """
    noise = _noise_between(model.noise_shape, seeds, steps, path)
    return model.between_texts(noise, np.linspace(0, 1, steps), texts, language)


def _noise_between(
    shape: tuple[int, ...], seeds: tuple[int, int], steps: int, path: InterpolationPath
) -> np.ndarray:
    """Return noise `[steps, *shape]` between that of the first images of two seeds."""
    ends = [per_image_normal(1, shape, seed).flatten().numpy() for seed in seeds]
    return interpolate(ends[0], ends[1], steps, path).reshape(steps, *shape)


# -- activity of latents -----------------------------------------------------------------------


class LatentActivity(NamedTuple):
    """How much each unit depends on the image: a latent, or a channel of a grid of latents.

    With a learned prior it is a latent of u.
    """

    mean: Latents  # E[z|x] of each image; for a learned prior f^-1 of it
    # KL(q(z|x) || p(z)) of each unit, of each image or evenly spaced ones, nats; None for a
    # prior or posterior whose latents depend on one another: only their sum is a KL
    image_rate: Float32[np.ndarray, "n unit"] | None
    total_rate: float | None  # sum over latents, mean over x, nats; None without a KL
    num_channels: int | None = None  # of a grid
    levels: tuple[LevelShape, ...] = ()  # of a ladder: a unit is a channel of a level
    noise_map: NoiseMap = "none"  # to z from the space of `mean`
    is_point: bool = False  # in place of q(z|x): the scale of the latents is arbitrary

    @property
    def unit(self) -> str:
        """What a unit is called."""
        return "latent" if self.num_channels is None and not self.levels else "channel"

    @property
    def unit_sizes(self) -> Int[np.ndarray, " unit"]:
        """Number of latents of each unit; those of a unit stand together."""
        num_latents = self.mean.shape[1]
        if self.levels:
            sizes = [np.full(channels, rows * columns) for channels, rows, columns in self.levels]
            return np.concatenate(sizes)
        num_units = self.num_channels or num_latents
        return np.full(num_units, num_latents // num_units)

    @property
    def level_rate(self) -> Float[np.ndarray, "n level"] | None:
        """KL of each level of a ladder, of each image as in `image_rate`, nats; else None."""
        if self.image_rate is None or not self.levels:
            return None
        ends = np.cumsum([channels for channels, _, _ in self.levels])[:-1]
        parts = np.split(self.image_rate, ends, axis=1)
        return np.stack([part.sum(1) for part in parts], 1)

    @property
    def rate(self) -> Float32[np.ndarray, " unit"] | None:
        """KL of each unit, mean over x, nats; None where only their sum is a KL."""
        return None if self.image_rate is None else self.image_rate.mean(0)

    @property
    def variance(self) -> Float32[np.ndarray, " unit"]:
        """Variance of `mean` over the images, where that of the prior is 1; mean over a channel."""
        return self.over_positions(self.mean.var(0)[None])[0]

    def over_positions(self, values: Float[np.ndarray, "n latent"]) -> Float[np.ndarray, "n unit"]:
        """Return the mean over the positions of each channel; of a vector the values."""
        return sum_over_units(values, self.unit_sizes) / self.unit_sizes

    @property
    def active(self) -> Bool[np.ndarray, " unit"]:
        """Which units are active (Burda 2015, sec. 5)."""
        return self.are_active(self.variance)

    def are_active(self, variance: Float[np.ndarray, "... unit"]) -> Bool[np.ndarray, "... unit"]:
        """Which units of such variances are active; of points relative to the mean variance."""
        scale = variance.mean(-1, keepdims=True) if self.is_point else 1.0
        return variance > ACTIVE_UNIT_VARIANCE * scale

    @property
    def order(self) -> Int[np.ndarray, " unit"]:
        """Units by decreasing KL; by decreasing variance where that is not defined."""
        activity = self.variance if self.rate is None else self.rate
        return np.argsort(-activity, kind="stable")


def latent_activity(
    model: CanEncode,
    images: Images,
    posterior: LatentPosterior | None = None,
    terms: ElboTerms | None = None,
) -> LatentActivity:
    """Measure the activity of each latent; `posterior` and `terms` save computing them again.

    The KL is that of the model's ELBO if it has one, else that to N(0, I); points have none.
    """
    posterior = model.encode(images).flatten() if posterior is None else posterior
    channels = model.latent_shape[0] if len(model.latent_shape) == 3 else None
    if has_point_posterior(model):
        return LatentActivity(posterior.mean, None, None, channels, is_point=True)
    if terms is None and isinstance(model, HasELBO):
        terms = elbo_terms(model, images.evenly_spaced(MAX_KL_IMAGES))
    rate = gaussian_kl(posterior) if terms is None else terms.rate.astype(np.float32)
    total, mean = float(rate.sum(1).mean()), to_noise(model, posterior.mean)
    mapped = noise_map(model, posterior)
    activity = LatentActivity(mean, None, total, channels, level_shapes(model), mapped)
    if has_learned_prior(model) or not posterior.is_gaussian:
        return activity
    return activity._replace(image_rate=sum_over_units(rate, activity.unit_sizes))


def sum_over_units(
    values: Float[np.ndarray, "n latent"], sizes: Int[np.ndarray, " unit"]
) -> Float[np.ndarray, "n unit"]:
    """Sum the latents of each unit, of which so many stand together."""
    if len(sizes) == values.shape[1]:
        return values
    return np.add.reduceat(values, np.cumsum(sizes) - sizes, axis=1)


def gaussian_kl(posterior: LatentPosterior) -> Latents:
    """KL(N(mu, sigma^2) || N(0, 1)) = 1/2 (sigma^2 + mu^2 - 1) - log sigma, in nats
    (Kingma & Welling 2013, app. B)."""
    mean, std = posterior.mean, posterior.std
    return 0.5 * (std**2 + mean**2 - 1) - np.log(std)


# -- traversal ---------------------------------------------------------------------------------


Along = Literal["latents", "directions"]


class Traversal(NamedTuple):
    """Images along single latents, channels or principal directions: row r along `latents[r]`."""

    images: Images  # [rows * steps]
    latents: list[int]
    rate: list[float] | None  # KL of these latents, nats; None where none has its own
    variance: list[float]  # of the posterior means over the images
    steps: int
    unit: str = "latent"  # what each row moves along: a latent, a channel or a direction
    noise_map: NoiseMap = "none"  # to z from where the latents are moved

    def __repr__(self) -> str:
        quantity, values = self.activity
        rows = zip(self.latents, values, strict=True)
        texts = [f"{self.unit} {number}: {quantity} {value:.2f}" for number, value in rows]
        return f"Traversal({', '.join(texts)})"

    @property
    def activity(self) -> tuple[str, list[float]]:
        """What is known of each row: `kl` in nats, or `variance` where it has no KL."""
        return ("variance", self.variance) if self.rate is None else ("kl", self.rate)

    def row_texts(self) -> list[str]:
        """Return the text beside each row: `z3`, `1.25 nats`."""
        letter = "z" if self.noise_map == "none" else "u"
        letter = letter if self.unit == "latent" else f"{self.unit} "
        quantity, values = self.activity
        unit = "nats" if quantity == "kl" else quantity
        rows = zip(self.latents, values, strict=True)
        return [f"{letter}{number}\n{value:.2f} {unit}" for number, value in rows]

    def to_png(self) -> bytes:
        """Return the rows with their texts, under the values from -3 to 3."""
        limit, texts = TRAVERSAL_RANGE, self.row_texts()
        values = np.linspace(-limit, limit, self.steps)
        titles = [f"{value:+.1f}".replace("+0.0", "0") for value in values]
        return rows_with_text(self.images, self.steps, texts, titles)

    def save(self, path: str | Path) -> Path:
        """Save what `to_png` returns, as `.png`, `.jpg` or `.webp`."""
        return save_sheet(self.to_png(), path)

    def _repr_png_(self) -> bytes:
        return self.to_png()


def traverse(
    model: CanEncode,
    images: Images,
    num_latents: int = 8,
    start: Images | None = None,
    steps: int = 11,
    along: Along | None = None,
) -> Traversal:
    """Move each of the most active latents from -3 to 3; the others stay at those of `start`.

    Those of a learned prior z = f(u) are moved in u, so that -3 to 3 are standard deviations of
    the prior. Of a grid the latents of a channel are moved together, by -3 to 3 of their standard
    deviations; or, by default, all along a principal direction of the images' latents. Activity is
    measured on `images`. Without `start` the image nearest to the median latent is used. Raises
    UsageError for more latents, channels or directions than there are.
    """
    activity = latent_activity(model, images)
    is_grid = activity.num_channels is not None
    is_vector = activity.unit == "latent"
    along = along or ("directions" if is_grid else "latents")
    if start is None:
        start = images[nearest_to_median(activity.mean)]
    u = to_noise(model, model.encode(start).flatten().mean)[0]
    values = np.linspace(-TRAVERSAL_RANGE, TRAVERSAL_RANGE, steps)
    if along == "directions":
        moves = _principal_directions(activity, num_latents)
    else:
        moves = _unit_moves(activity, num_latents)
    rows = u + values[None, :, None] * moves.offsets[:, None]
    if along == "latents" and is_vector:
        rows[np.arange(num_latents), :, moves.numbers] = values
    z = from_noise(model, rows.reshape(-1, len(u)).astype(np.float32))
    labels = labels_for(model, start)
    labels = None if labels is None else np.repeat(labels[:1], num_latents * steps)
    unit = activity.unit if along == "latents" else "direction"
    decoded = model.decode(z, labels)
    mapped = activity.noise_map
    return Traversal(decoded, moves.numbers, moves.rate, moves.variance, steps, unit, mapped)


class _Moves(NamedTuple):
    """What a step of 1 adds to the latents, row by row."""

    offsets: Float32[np.ndarray, "rows latent"]
    numbers: list[int]
    rate: list[float] | None
    variance: list[float]


def _unit_moves(activity: LatentActivity, count: int) -> _Moves:
    """Return the most active latents, or channels, each moved by a standard deviation."""
    num_units, size = len(activity.variance), activity.mean.shape[1]
    if not 1 <= count <= num_units:
        raise UsageError(f"this model has {num_units} {activity.unit}s; {count} cannot be shown.")
    units = activity.order[:count]
    latents_of_unit = np.split(np.arange(size), np.cumsum(activity.unit_sizes)[:-1])
    offsets = np.zeros((count, size), np.float32)
    for row, unit in enumerate(units):
        offsets[row, latents_of_unit[unit]] = math.sqrt(activity.variance[unit])
    rate = None if activity.rate is None else activity.rate[units].tolist()
    return _Moves(offsets, units.tolist(), rate, activity.variance[units].tolist())


def _principal_directions(activity: LatentActivity, count: int) -> _Moves:
    """Return the principal directions of the posterior means, by decreasing variance."""
    centred = activity.mean - activity.mean.mean(0)
    available = min(len(centred) - 1, centred.shape[1])
    if not 1 <= count <= available:
        raise UsageError(
            f"these images have {available} principal directions; {count} cannot be shown."
        )
    _, scales, directions = np.linalg.svd(centred, full_matrices=False)
    deviations = scales[:count] / math.sqrt(len(centred))
    # the sign is arbitrary: the largest entry of each is positive
    rows = directions[:count]
    rows = rows * np.sign(rows[np.arange(count), np.abs(rows).argmax(1)])[:, None]
    offsets = (deviations[:, None] * rows).astype(np.float32)
    return _Moves(offsets, list(range(count)), None, (deviations**2).tolist())


def nearest_to_median(mean: Latents) -> int:
    """Return the row whose latent is nearest to the median of all."""
    return int(np.argmin(((mean - np.median(mean, 0)) ** 2).sum(1)))
