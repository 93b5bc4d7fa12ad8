"""Sharpness: the power of fine detail in images, by spatial frequency.

The spectrum is computed by the type-2 cosine transform, which mirrors an image at its edges. The
Fourier transform would wrap it around and count the border as detail. A blur with mirrored edges
multiplies the power at each frequency by its squared transfer function, exactly.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int64

from pinxit.data.images import Images
from pinxit.evaluation.estimates import (
    Curve,
    Estimate,
    Groups,
    column_errors,
    estimate_curve,
    estimate_from_sums,
    estimate_mean,
)
from pinxit.evaluation.metrics import Axis, MetricValue

BATCH_SIZE = 256
HIGH_FREQUENCY = 0.25  # cycles per pixel: half of the Nyquist frequency


@dataclass(frozen=True)
class Spectrum:
    """Mean power of images in rings of spatial frequency, in squared grey levels."""

    frequencies: Float64[np.ndarray, " rings"]  # centre of each ring, cycles per pixel, up to 0.5
    image_power: Float64[np.ndarray, "n rings"]  # of each image, mean over the modes of a ring
    high_power: Float64[np.ndarray, " n"]  # of each image, from 0.25 to 0.5 cycles per pixel

    @property
    def power(self) -> Float64[np.ndarray, " rings"]:
        """Mean over the images."""
        return self.image_power.mean(0)


def power_spectrum(images: Images | Iterable[np.ndarray]) -> Spectrum:
    """Return the radial power spectrum of images `[height, width, channel]`.

    The power of a color image is the mean over its channels.
    """
    parts = [_measure_power(batch) for batch in _batches(images)]
    if not parts:
        return Spectrum(_ring_centres(2), np.zeros((1, 2)), np.zeros(0))
    image_power, high_power = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Spectrum(_ring_centres(image_power.shape[1]), image_power, high_power)


def _ring_centres(num_rings: int) -> Float64[np.ndarray, " rings"]:
    return (np.arange(num_rings) + 0.5) / (2 * num_rings)


def _assign_rings(h: int, w: int) -> tuple[Int64[np.ndarray, "h w"], int]:
    """Return the ring of each mode, and the number of rings; modes of none have that number."""
    radius = _radius(h, w)
    num_rings = max(2, min(h, w) // 2)
    ring = np.minimum((radius * 2 * num_rings).astype(np.int64), num_rings)
    ring[radius == 0.5] = num_rings - 1
    ring[0, 0] = num_rings  # the mean of the image is no detail
    return ring, num_rings


def _radius(h: int, w: int) -> Float64[np.ndarray, "h w"]:
    """Spatial frequency of each mode, in cycles per pixel."""
    return np.hypot(np.arange(h)[:, None] / (2 * h), np.arange(w)[None] / (2 * w))


def _measure_power(
    batch: np.ndarray,
) -> tuple[Float64[np.ndarray, "n rings"], Float64[np.ndarray, " n"]]:
    """Mean power of each image in each ring, and its power at high frequencies."""
    modes = cosine_transform(batch.astype(np.float32))
    power = np.square(modes.astype(np.float64)).mean(-1)
    radius = _radius(*power.shape[1:])
    ring, num_rings = _assign_rings(*power.shape[1:])
    is_in_ring = ring.ravel()[:, None] == np.arange(num_rings)
    share = is_in_ring / np.maximum(is_in_ring.sum(0), 1)
    high_power = power[:, (radius >= HIGH_FREQUENCY) & (radius <= 0.5)].sum(1)
    return power.reshape(len(power), -1) @ share, high_power


def cosine_transform(
    images: Float32[np.ndarray, "n height width channel"],
) -> Float32[np.ndarray, "n height width channel"]:
    """Return the orthonormal type-2 discrete cosine transform of each channel."""
    rows, columns = (cosine_basis(side) for side in images.shape[1:3])
    return np.einsum("uh,nhwc,vw->nuvc", rows, images, columns, optimize=True)


@functools.cache
def cosine_basis(size: int) -> Float32[np.ndarray, "frequency size"]:
    """Return the orthonormal cosines, one in each row."""
    frequency, position = np.arange(size)[:, None], np.arange(size) + 0.5
    basis = np.cos(np.pi / size * frequency * position) * np.sqrt(2 / size)
    basis[0] /= np.sqrt(2)
    return basis.astype(np.float32)


def _batches(images: Images | Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    if isinstance(images, Images):
        for start in range(0, len(images), BATCH_SIZE):
            yield np.asarray(images.pixels[start : start + BATCH_SIZE])
        return
    for image in images:
        yield image[None]


def spectrum_ratio(spectrum: Spectrum, reference: Spectrum) -> Float64[np.ndarray, " rings"]:
    """Return the power over that of the reference, per ring; 1 is as sharp as the reference."""
    floor = _floor(reference)
    return (spectrum.power + floor) / (reference.power + floor)


def _floor(reference: Spectrum) -> float:
    max_power = reference.power.max()
    return 1e-9 * max_power if max_power > 0 else 1.0


def estimate_ratio(
    spectrum: Spectrum, reference: Spectrum, groups: Groups | None, *, paired: bool
) -> Curve:
    """Return `spectrum_ratio` with errors by the delta method: r = a / b varies by (da - r db) / b.

    Pairs are an image and its reconstruction; samples are independent of the images.
    """
    ratio = spectrum_ratio(spectrum, reference)
    of_images, of_reference = (
        values.image_power - values.power for values in (spectrum, reference)
    )
    if paired:
        errors = column_errors(of_images - ratio * of_reference, groups)
    else:
        errors = np.hypot(column_errors(of_images), ratio * column_errors(of_reference, groups))
    return Curve(ratio, errors / (reference.power + _floor(reference)))


def sharpness(spectrum: Spectrum, reference: Spectrum) -> float:
    """Return the power at high frequencies over that of the reference; NaN if it has none."""
    if reference.high_power.sum() <= 0:
        return float("nan")
    return float(spectrum.high_power.mean() / reference.high_power.mean())


def _estimate_sharpness(
    name: str, spectrum: Spectrum, reference: Spectrum, data: Images
) -> Estimate:
    """Sharpness with its error; reconstructions are of the data's images, samples are not."""
    if name == "reconstructions":
        sums = np.stack([spectrum.high_power, reference.high_power], 1)
        estimate = estimate_from_sums(lambda s: s[:, 0] / s[:, 1], sums, data.groups)
        return dataclasses.replace(estimate, names=data.names)
    of_samples = estimate_mean(spectrum.high_power)
    of_data = estimate_mean(reference.high_power, data.groups)
    value = of_samples.value / of_data.value
    relative = of_samples.error / max(of_samples.value, 1e-12), of_data.error / of_data.value
    return Estimate(value, value * math.hypot(*relative))


def sharpness_metrics(
    data: Images, reconstructions: Images | None, samples: Images | None
) -> Iterator[MetricValue]:
    """Yield spectra and sharpness of reconstructions and samples, relative to the data."""
    reference = power_spectrum(data)
    yield "frequencies", Axis(reference.frequencies)
    yield "spectrum_data", estimate_curve(reference.image_power, data.groups)
    for name, images in (("reconstructions", reconstructions), ("samples", samples)):
        if images is None:
            continue
        spectrum = power_spectrum(images)
        paired = name == "reconstructions"
        yield f"spectrum_{name}", estimate_ratio(spectrum, reference, data.groups, paired=paired)
        if reference.high_power.sum() > 0:
            yield f"sharpness_{name}", _estimate_sharpness(name, spectrum, reference, data)
