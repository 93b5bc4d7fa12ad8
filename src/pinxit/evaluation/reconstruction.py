"""How close reconstructions are to their originals: MSE, PSNR and SSIM."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float64
from skimage.metrics import structural_similarity

from pinxit.data.images import Images
from pinxit.data.psnr import psnr
from pinxit.evaluation.estimates import estimate_over
from pinxit.evaluation.metrics import MetricValue

MAX_SSIM_IMAGES = 1_000  # computed image by image: slow
SSIM_WINDOW = 11  # pixels; Wang 2004

PerImage = Float64[np.ndarray, " n"]


def reconstruction_metrics(originals: Images, reconstructions: Images) -> Iterator[MetricValue]:
    """Yield MSE, PSNR and SSIM (of up to 1,000), averaged over the images."""
    mse = mse_per_image(originals, reconstructions)
    yield "mse", estimate_over(originals, mse)
    yield "psnr", estimate_over(originals, psnr(mse))
    subset = originals.evenly_spaced(MAX_SSIM_IMAGES)
    similarity = ssim(subset, reconstructions.evenly_spaced(MAX_SSIM_IMAGES))
    if np.isfinite(similarity).all():
        yield "ssim", estimate_over(subset, similarity)


def mse_per_image(originals: Images, reconstructions: Images) -> PerImage:
    """Return the mean squared error of each image, on a scale from 0 (black) to 1 (white)."""
    mse = np.empty(len(originals))
    for i, (a, b) in enumerate(zip(originals.pixels, reconstructions.pixels, strict=True)):
        mse[i] = np.mean(np.square(a.astype(np.float32) - b))
    return mse / 255**2


def ssim(originals: Images, reconstructions: Images) -> PerImage:
    """Return the structural similarity of each image (Wang 2004); 1 for equal images.

    The window is Gaussian, 11 x 11, as in the paper. Smaller images take a uniform window: the
    largest odd size up to 7 that fits. Images below 3 pixels give NaN.
    """
    size = min(originals.height, originals.width)
    if size < 3:
        return np.full(len(originals), np.nan)
    options: dict[str, Any] = {"gaussian_weights": True, "sigma": 1.5}
    options["use_sample_covariance"] = False
    if size < SSIM_WINDOW:
        options = {"win_size": min(7, size - 1 + size % 2)}
    values = [
        structural_similarity(a, b, data_range=255, channel_axis=-1, **options)
        for a, b in zip(originals.pixels, reconstructions.pixels, strict=True)
    ]
    return np.array(values, np.float64)
