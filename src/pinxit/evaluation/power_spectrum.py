"""Sharpness: the power of fine detail in images, by spatial frequency.

The spectrum is computed by the type-2 cosine transform, which mirrors an image at its edges. The
Fourier transform would wrap it around and count the border as detail. A blur with mirrored edges
multiplies the power at each frequency by its squared transfer function, exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from scipy.fft import dctn

from pinxit.data.images import Images
from pinxit.evaluation.metrics import MetricValue

BATCH_SIZE = 256
HIGH_FREQUENCY = 0.25  # cycles per pixel: half of the Nyquist frequency


@dataclass(frozen=True)
class Spectrum:
    """Mean power of images in rings of spatial frequency, in squared grey levels."""

    frequencies: Float64[np.ndarray, " rings"]  # centre of each ring, cycles per pixel, up to 0.5
    power: Float64[np.ndarray, " rings"]  # mean over the modes of a ring
    high_power: float  # total power from 0.25 to 0.5 cycles per pixel


def power_spectrum(images: Images | Iterable[np.ndarray]) -> Spectrum:
    """Return the radial power spectrum of images `[height, width, channel]`, averaged over them.

    The power of a color image is the mean over its channels.
    """
    power = _mean_power(images)
    h, w = power.shape
    radius = np.hypot(np.arange(h)[:, None] / (2 * h), np.arange(w)[None] / (2 * w))
    num_rings = max(2, min(h, w) // 2)
    ring = np.minimum((radius * 2 * num_rings).astype(int), num_rings)  # the last: above 0.5
    ring[radius == 0.5] = num_rings - 1
    ring[0, 0] = num_rings  # the mean of the image is no detail
    count = np.bincount(ring.ravel(), minlength=num_rings + 1)[:num_rings]
    total = np.bincount(ring.ravel(), power.ravel(), minlength=num_rings + 1)[:num_rings]
    high_power = power[(radius >= HIGH_FREQUENCY) & (radius <= 0.5)].sum()
    centres = (np.arange(num_rings) + 0.5) / (2 * num_rings)
    return Spectrum(centres, total / np.maximum(count, 1), float(high_power))


def _mean_power(images: Images | Iterable[np.ndarray]) -> Float64[np.ndarray, "h w"]:
    total, count = np.zeros((1, 1)), 0
    for batch in _batches(images):
        modes = np.asarray(dctn(batch.astype(np.float32), axes=(1, 2), norm="ortho"))
        total = total + np.square(modes.astype(np.float64)).mean(-1).sum(0)
        count += len(batch)
    return total / max(1, count)


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
    if reference.high_power <= 0:
        return float("nan")
    return spectrum.high_power / reference.high_power


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
        if reference.high_power > 0:
            yield f"sharpness_{name}", sharpness(spectrum, reference)
