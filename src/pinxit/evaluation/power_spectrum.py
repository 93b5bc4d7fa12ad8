"""Sharpness: the power of fine detail in images, by spatial frequency.

The spectrum is computed by the type-2 cosine transform, which mirrors an image at its edges. The
Fourier transform would wrap it around and count the border as detail. A blur with mirrored edges
multiplies the power at each frequency by its squared transfer function, exactly.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from scipy.fft import dctn

from pinxit.data.images import Images
from pinxit.evaluation.estimates import Estimate, estimate_from_sums, estimate_mean
from pinxit.evaluation.metrics import MetricValue

BATCH_SIZE = 256
HIGH_FREQUENCY = 0.25  # cycles per pixel: half of the Nyquist frequency


@dataclass(frozen=True)
class Spectrum:
    """Mean power of images in rings of spatial frequency, in squared grey levels."""

    frequencies: Float64[np.ndarray, " rings"]  # centre of each ring, cycles per pixel, up to 0.5
    power: Float64[np.ndarray, " rings"]  # mean over the modes of a ring
    high_power: Float64[np.ndarray, " n"]  # of each image, from 0.25 to 0.5 cycles per pixel


def power_spectrum(images: Images | Iterable[np.ndarray]) -> Spectrum:
    """Return the radial power spectrum of images `[height, width, channel]`, averaged over them.

    The power of a color image is the mean over its channels.
    """
    power, high_power = _measure_power(images)
    h, w = power.shape
    radius = _radius(h, w)
    num_rings = max(2, min(h, w) // 2)
    ring = np.minimum((radius * 2 * num_rings).astype(int), num_rings)  # the last: above 0.5
    ring[radius == 0.5] = num_rings - 1
    ring[0, 0] = num_rings  # the mean of the image is no detail
    count = np.bincount(ring.ravel(), minlength=num_rings + 1)[:num_rings]
    total = np.bincount(ring.ravel(), power.ravel(), minlength=num_rings + 1)[:num_rings]
    centres = (np.arange(num_rings) + 0.5) / (2 * num_rings)
    return Spectrum(centres, total / np.maximum(count, 1), high_power)


def _radius(h: int, w: int) -> Float64[np.ndarray, "h w"]:
    """Spatial frequency of each mode, in cycles per pixel."""
    return np.hypot(np.arange(h)[:, None] / (2 * h), np.arange(w)[None] / (2 * w))


def _measure_power(
    images: Images | Iterable[np.ndarray],
) -> tuple[Float64[np.ndarray, "h w"], Float64[np.ndarray, " n"]]:
    """Mean power of each mode, and the power of each image at high frequencies."""
    total, high_power = np.zeros((1, 1)), []
    for batch in _batches(images):
        modes = np.asarray(dctn(batch.astype(np.float32), axes=(1, 2), norm="ortho"))
        power = np.square(modes.astype(np.float64)).mean(-1)
        radius = _radius(*power.shape[1:])
        total = total + power.sum(0)
        high_power.append(power[:, (radius >= HIGH_FREQUENCY) & (radius <= 0.5)].sum(1))
    values = np.concatenate([np.zeros(0), *high_power])
    return total / max(1, len(values)), values


def _batches(images: Images | Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    if isinstance(images, Images):
        for start in range(0, len(images), BATCH_SIZE):
            yield np.asarray(images.pixels[start : start + BATCH_SIZE])
        return
    for image in images:
        yield image[None]


def spectrum_ratio(spectrum: Spectrum, reference: Spectrum) -> Float64[np.ndarray, " rings"]:
    """Return the power over that of the reference, per ring; 1 is as sharp as the reference."""
    max_power = reference.power.max()
    floor = 1e-9 * max_power if max_power > 0 else 1.0
    return (spectrum.power + floor) / (reference.power + floor)


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
    yield "frequencies", reference.frequencies.tolist()
    yield "spectrum_data", reference.power.tolist()
    for name, images in (("reconstructions", reconstructions), ("samples", samples)):
        if images is None:
            continue
        spectrum = power_spectrum(images)
        yield f"spectrum_{name}", spectrum_ratio(spectrum, reference).tolist()
        if reference.high_power.sum() > 0:
            yield f"sharpness_{name}", _estimate_sharpness(name, spectrum, reference, data)
