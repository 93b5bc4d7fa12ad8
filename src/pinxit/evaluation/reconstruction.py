"""How near reconstructions are to their originals, pixel by pixel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float64

from pinxit.data.images import Images
from pinxit.data.psnr import psnr
from pinxit.evaluation.metrics import MetricValue

MAX_SSIM_IMAGES = 1_000  # images: it is taken one by one


def mse_per_image(originals: Images, made: Images) -> Float64[np.ndarray, " n"]:
    """Of each image, on a scale where black is 0 and white is 1."""
    errors = np.empty(len(originals))
    for i, (a, b) in enumerate(zip(originals.pixels, made.pixels, strict=True)):
        errors[i] = np.mean(np.square(a.astype(np.float32) - b))
    return errors / 255**2


def ssim(originals: Images, made: Images) -> Float64[np.ndarray, " n"]:
    """Structural similarity of each image (Wang 2004), 1 for equal ones.

    With the paper's Gaussian window of 11 x 11; images smaller than that take an even window
    of the largest odd side up to 7 that fits.
    """
    from skimage.metrics import structural_similarity

    smaller = min(originals.height, originals.width)
    if smaller < 3:
        return np.full(len(originals), np.nan)
    options: dict[str, Any] = {"gaussian_weights": True, "sigma": 1.5}
    options["use_sample_covariance"] = False
    if smaller < 11:
        options = {"win_size": min(7, smaller - 1 + smaller % 2)}
    values = [
        structural_similarity(a, b, data_range=255, channel_axis=-1, **options)
        for a, b in zip(originals.pixels, made.pixels, strict=True)
    ]
    return np.array(values, np.float64)


def reconstruction_metrics(originals: Images, made: Images) -> Iterator[MetricValue]:
    """PSNR, SSIM (of up to 1,000) and mean squared error, averaged over the images."""
    errors = mse_per_image(originals, made)
    yield "mse", float(errors.mean())
    yield "psnr", float(psnr(errors).mean())
    similar = ssim(originals.evenly_spaced(MAX_SSIM_IMAGES), made.evenly_spaced(MAX_SSIM_IMAGES))
    if np.isfinite(similar).all():
        yield "ssim", float(similar.mean())
