"""What p(x|z) assumes of the part of an image that z does not say, and what it costs.

A Gaussian p(x|z) calls the error x - f(z) white noise: independent from pixel to pixel, of one
variance sigma^2 everywhere. Errors at edges are neither. For the same decoded means f(z) the
distortion in nats is compared between

- sigma = 1, as many examples have it: half the squared error, and nothing else,
- sigma as the run has it,
- sigma^2 = the mean squared error, the best single value (sigma-VAE, Rybkin 2020, eq. 7),
- a variance for each pixel, and a variance for each spatial frequency (of the cosine transform),

the variances of the last three measured on validation images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Float64

from pinxit.data.images import Images
from pinxit.evaluation.estimates import Estimate, Groups, estimate_mean, subtract_estimates
from pinxit.evaluation.power_spectrum import cosine_transform
from pinxit.models.likelihood_protocols import CanSamplePixels, HasPixelLikelihood
from pinxit.sampling.observation import samples_pixels

DEQUANTIZATION = 1 / 12  # variance of the uniform noise of one grey level, in squared grey levels
MIN_VARIANCE = DEQUANTIZATION  # in squared grey levels: below it is rounding
NOISE_DRAWS = 8  # samples of p(x|z) that measure its variance where it has no closed form
LEVELS = 256.0  # pixels are compared on the scale of grey levels / 256

Errors = Float32[np.ndarray, "n height width channel"]  # in grey levels
Squares = Float32[np.ndarray, "n height width channel"]  # in squared grey levels
PerImage = Float64[np.ndarray, " n"]


@dataclass(frozen=True)
class NoiseModel:
    """Distortions of the same decoded means under several variances, in nats per image."""

    fixed: Estimate  # sigma = 1
    own: Estimate  # sigma of the run
    best: Estimate  # the best single sigma
    per_pixel: Estimate
    per_frequency: Estimate
    own_sigma: float  # on the scale 0 to 1
    best_sigma: float

    @property
    def wrong_sigma(self) -> Estimate:
        """What the run's sigma loses to the best one, in nats per image."""
        return subtract_estimates(self.own, self.best)

    @property
    def one_sigma(self) -> Estimate:
        """What one sigma for all pixels loses to one for each, in nats per image."""
        return subtract_estimates(self.best, self.per_pixel)

    @property
    def white(self) -> Estimate:
        """What white noise loses to noise with a variance for each frequency, in nats per image."""
        return subtract_estimates(self.best, self.per_frequency)

    @property
    def beta_of_sigma_one(self) -> float:
        """With sigma 1 and this beta in place of 1 the loss is that of the run, up to a factor."""
        return self.own_sigma**2


def measure_noise_model(
    errors: Errors, calibration: Errors, own_sigma: float, groups: Groups | None = None
) -> NoiseModel:
    """Compare the distortions of images with these `errors` x - f(z), z ~ q(z|x).

    `calibration` are the errors of other images, on which the variances are measured.
    """
    squares, held_out = (np.square(part) + DEQUANTIZATION for part in (errors, calibration))
    modes, held_out_modes = (np.square(_transform(part)) + DEQUANTIZATION
                             for part in (errors, calibration))  # fmt: skip
    best = max(float(held_out.mean()), MIN_VARIANCE)
    variances = {
        "fixed": (squares, np.float64(LEVELS**2)),
        "own": (squares, np.float64((LEVELS * own_sigma) ** 2)),
        "best": (squares, np.float64(best)),
        "per_pixel": (squares, np.maximum(_shrink(held_out), MIN_VARIANCE)),
        "per_frequency": (modes, np.maximum(_shrink(held_out_modes), MIN_VARIANCE)),
    }
    values = {
        name: estimate_mean(_distortion(part, variance), groups)
        for name, (part, variance) in variances.items()
    }
    return NoiseModel(**values, own_sigma=own_sigma, best_sigma=math.sqrt(best) / LEVELS)


def _shrink(squares: Squares) -> Float64[np.ndarray, "height width channel"]:
    """Mean squares of each place, with the overall mean as one more image.

    A place that is always right in few images would else get a variance of 0.
    """
    mean = squares.mean(dtype=np.float64)
    return (squares.sum(0, dtype=np.float64) + mean) / (len(squares) + 1)


def _distortion(squares: Squares, variance: np.ndarray | np.float64) -> PerImage:
    """-log N of each image, in nats: minus the log-density of a grey level, per value."""
    constant = 0.5 * (np.log(variance) + math.log(2 * math.pi))
    per_value = 0.5 * squares / variance + constant
    return per_value.sum((1, 2, 3), dtype=np.float64)


def _transform(errors: Errors) -> Errors:
    """Orthonormal cosine transform of each channel: squares keep their sum."""
    return cosine_transform(np.asarray(errors, np.float32))


# -- calibration -----------------------------------------------------------------------------------


def noise_variance(
    model: Any,  # CanEncode
    z: Float32[np.ndarray, "n latent"],
    decoded: Images,
    labels: np.ndarray | None = None,
    seed: int = 0,
) -> Float[np.ndarray, "n height width channel"] | None:
    """Return what p(x|z) states of the squared error of the decoded means at each pixel, in squared
    grey levels; None if unknown.

    It is the variance. Where pixels depend on one another the decoded means are those given the
    rounded means before them, from which whole samples differ by more.
    """
    is_exact = isinstance(model, CanSamplePixels)
    means = model.decode_means(z, labels) if is_exact else decoded.pixels.astype(np.float32)
    if isinstance(model, HasPixelLikelihood) and not samples_pixels(model):
        if model.binary_pixels:
            return means * (255 - means)
        if model.decoder_sigma is not None:
            per_pixel = getattr(model, "decoder_sigma_per_pixel", None)
            sigma = np.float32(model.decoder_sigma) if per_pixel is None else per_pixel
            return np.broadcast_to((LEVELS * sigma) ** 2, means.shape)
    if not is_exact:
        return None
    squares = np.zeros(means.shape, np.float32)
    for draw in range(NOISE_DRAWS):
        noisy = model.sample_pixels(z, labels, seed=seed + draw).pixels.astype(np.float32)
        squares += np.square(noisy - means) / NOISE_DRAWS
    return squares


def single_sigma(model: Any) -> float | None:
    """Return the one sigma of a Gaussian p(x|z), pixels from 0 to 1; None without, or per pixel."""
    per_pixel = getattr(model, "decoder_sigma_per_pixel", None)
    return None if per_pixel is not None else model.decoder_sigma


def calibration_ratio(
    errors: Errors, variance: Float[np.ndarray, "n h w c"], groups: Groups | None = None
) -> Estimate:
    """Return the squared error over the variance that p(x|z) states: 1 if it is calibrated."""
    own, stated = (
        np.asarray(part, np.float64).mean((1, 2, 3)) for part in (np.square(errors), variance)
    )
    ratio = own.mean() / max(stated.mean(), 1e-12)
    residual = estimate_mean((own - ratio * stated) / max(stated.mean(), 1e-12), groups)
    return Estimate(float(ratio), residual.error)


def frequency_ratio(
    errors: Errors, variance: float
) -> tuple[Float64[np.ndarray, " rings"], Float64[np.ndarray, " rings"]]:
    """Return frequencies in cycles per pixel, and the power of the errors over white noise of the
    same total power, by ring of spatial frequency: 1 everywhere if the errors are white."""
    power = np.square(_transform(errors)).mean((0, 3), dtype=np.float64)
    h, w = power.shape
    radius = np.hypot(np.arange(h)[:, None] / (2 * h), np.arange(w)[None] / (2 * w))
    num_rings = max(2, min(h, w) // 2)
    ring = np.minimum((radius * 2 * num_rings).astype(int), num_rings)
    counts = np.bincount(ring.ravel(), minlength=num_rings + 1)[:num_rings]
    sums = np.bincount(ring.ravel(), power.ravel(), num_rings + 1)[:num_rings]
    centres = (np.arange(num_rings) + 0.5) / (2 * num_rings)
    return centres, sums / np.maximum(counts, 1) / max(variance, 1e-12)
