"""How close reconstructions are to their originals: MSE, PSNR and SSIM."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float64

from pinxit.data.images import Images
from pinxit.data.psnr import psnr
from pinxit.evaluation.estimates import estimate_over
from pinxit.evaluation.gaussian_blur import filter_separably, gaussian_kernel
from pinxit.evaluation.metrics import MetricValue

MAX_SSIM_IMAGES = 1_000
SSIM_WINDOW = 11  # pixels; Wang 2004
SSIM_SIGMA = 1.5  # pixels
BATCH_SIZE = 64

PerImage = Float64[np.ndarray, " n"]
Pixels = Float64[np.ndarray, "n height width channel"]


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
    """Return the structural similarity of each image (Wang 2004, eq. 13); 1 for equal images.

    The window is Gaussian, 11 x 11, as in the paper. Smaller images take a uniform window: the
    largest odd size up to 7 that fits. Images below 3 pixels give NaN. It is the mean over pixels
    whose window lies in the image, and over channels.
    """
    size = min(originals.height, originals.width)
    if size < 3:
        return np.full(len(originals), np.nan)
    kernel, correction = gaussian_kernel(SSIM_SIGMA, truncate=3.5), 1.0
    if size < SSIM_WINDOW:
        window = min(7, size - 1 + size % 2)
        kernel, correction = np.full(window, 1 / window), window**2 / (window**2 - 1)
    values = [
        _ssim_batch(
            originals.pixels[start : start + BATCH_SIZE].astype(np.float64),
            reconstructions.pixels[start : start + BATCH_SIZE].astype(np.float64),
            kernel,
            correction,
        )
        for start in range(0, len(originals), BATCH_SIZE)
    ]
    return np.concatenate(values) if values else np.empty(0)


def _ssim_batch(
    x: Pixels, y: Pixels, kernel: Float64[np.ndarray, " size"], correction: float
) -> PerImage:
    """`correction` turns the mean squares of a window into estimates of its variance."""
    x_mean, y_mean, xx, yy, xy = (
        filter_separably(values, kernel) for values in (x, y, x * x, y * y, x * y)
    )
    x_variance, y_variance, covariance = (
        correction * (square - product)
        for square, product in ((xx, x_mean**2), (yy, y_mean**2), (xy, x_mean * y_mean))
    )
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    similarity = (2 * x_mean * y_mean + c1) * (2 * covariance + c2)
    similarity /= (x_mean**2 + y_mean**2 + c1) * (x_variance + y_variance + c2)
    edge = len(kernel) // 2
    height, width = x.shape[1:3]
    return similarity[:, edge : height - edge, edge : width - edge].mean((1, 2, 3))
