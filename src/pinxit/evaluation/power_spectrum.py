"""How much of the data's fine detail images have: power by spatial frequency.

The spectrum is that of the type-2 cosine transform. It mirrors an image at its edges where the
Fourier transform wraps it around, so that an edge of the frame is no detail; and a blur that
mirrors likewise multiplies each power by its transfer function squared, exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from pinxit.data.images import Images
from pinxit.evaluation.metrics import MetricValue

CHUNK = 256
HIGH_FREQUENCY = 0.25  # cycles a pixel: half of the highest frequency that pixels can hold


@dataclass(frozen=True)
class Spectrum:
    """Mean power of images in rings of spatial frequency."""

    frequencies: Float64[np.ndarray, " rings"]  # the middle of each, cycles a pixel, up to 0.5
    power: Float64[np.ndarray, " rings"]  # mean over the modes of a ring, squared grey levels
    upper: float  # total power of the modes from 0.25 to 0.5 cycles a pixel


def power_spectrum(images: Images | Iterable[np.ndarray]) -> Spectrum:
    """Radial power spectrum of images `[height, width, channel]`, averaged over them.

    Colour images count as the mean of their channels' powers.
    """
    power = _mean_power(images)
    h, w = power.shape
    radius = np.hypot(np.arange(h)[:, None] / (2 * h), np.arange(w)[None] / (2 * w))
    rings = max(2, min(h, w) // 2)
    number = np.minimum((radius * 2 * rings).astype(int), rings)  # the last: corners above 0.5
    number[radius == 0.5] = rings - 1
    number[0, 0] = rings  # the image's mean is no detail
    count = np.bincount(number.ravel(), minlength=rings + 1)[:rings]
    total = np.bincount(number.ravel(), power.ravel(), minlength=rings + 1)[:rings]
    upper = power[(radius >= HIGH_FREQUENCY) & (radius <= 0.5)].sum()
    middle = (np.arange(rings) + 0.5) / (2 * rings)
    return Spectrum(middle, total / np.maximum(count, 1), float(upper))


def _mean_power(images: Images | Iterable[np.ndarray]) -> Float64[np.ndarray, "h w"]:
    from scipy.fft import dctn

    total, count = np.zeros((1, 1)), 0
    for chunk in _chunks(images):
        waves = np.asarray(dctn(chunk.astype(np.float32), axes=(1, 2), norm="ortho"))
        total = total + np.square(waves.astype(np.float64)).mean(-1).sum(0)
        count += len(chunk)
    return total / max(1, count)


def _chunks(images: Images | Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    if isinstance(images, Images):
        for start in range(0, len(images), CHUNK):
            yield np.asarray(images.pixels[start : start + CHUNK])
        return
    for image in images:
        yield image[None]


def spectrum_ratio(made: Spectrum, data: Spectrum) -> Float64[np.ndarray, " rings"]:
    """Power of what was made over that of the data, ring by ring; 1 is as sharp as the data."""
    floor = 1e-9 * data.power.max() if data.power.max() > 0 else 1.0
    return (made.power + floor) / (data.power + floor)


def sharpness(made: Spectrum, data: Spectrum) -> float:
    """Power in the upper half of frequencies over that of the data: 1 is as sharp as the data."""
    return made.upper / data.upper if data.upper > 0 else float("nan")


def sharpness_metrics(
    data: Images, reconstructions: Images | None, samples: Images | None
) -> Iterator[MetricValue]:
    """The whole curve and the one figure, of reconstructions and of samples."""
    reference = power_spectrum(data)
    yield "frequencies", reference.frequencies.tolist()
    yield "spectrum_data", reference.power.tolist()
    for name, made in (("reconstructions", reconstructions), ("samples", samples)):
        if made is None:
            continue
        found = power_spectrum(made)
        yield f"spectrum_{name}", spectrum_ratio(found, reference).tolist()
        if reference.upper > 0:
            yield f"sharpness_{name}", sharpness(found, reference)
