"""Power spectra and sharpness against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.fft import dctn, idctn
from scipy.ndimage import gaussian_filter

from pinxit.data.images import Images
from pinxit.evaluation.power_spectrum import (
    estimate_ratio,
    power_spectrum,
    sharpness,
    sharpness_metrics,
    spectrum_ratio,
)
from tests.builders import noise_images, values_of


def test_equal_images_are_equally_sharp():
    images = noise_images()
    metrics = values_of(sharpness_metrics(images, images, images))
    assert metrics["sharpness_samples"] == 1
    assert metrics["spectrum_reconstructions"] == pytest.approx([1] * 8)


@pytest.mark.parametrize("height", [16, 24])
def test_blur_multiplies_power_by_its_squared_transfer_function(height):
    """The transfer function of a Gaussian blur is exp(-2 (pi f s)^2).

    Here it is that of the sampled kernel with mirrored edges, as the cosine transform mirrors
    them: the ratio is exact.
    """
    sigma, width = 0.7, 16
    # smooth and unrounded, not 8-bit: the test is of the spectrum
    rng = np.random.default_rng(0)
    images = [rng.normal(0, 20, (height, width, 1)) for _ in range(40)]
    blurred = [gaussian_filter(p, (sigma, sigma, 0), mode="reflect", truncate=8) for p in images]
    before, after = power_spectrum(images), power_spectrum(blurred)
    kernel = np.arange(-6, 7)
    weights = np.exp(-0.5 * (kernel / sigma) ** 2)
    weights /= weights.sum()

    def transfer(n):
        f = np.arange(n) / (2 * n)  # cycles per pixel
        return (weights[None] * np.cos(2 * np.pi * f[:, None] * kernel[None])).sum(1)

    gain = np.outer(transfer(height), transfer(width)) ** 2
    power = np.mean([dctn(p[..., 0].astype(np.float32), norm="ortho") ** 2 for p in images], 0)
    radius = np.hypot(np.arange(height)[:, None] / (2 * height), np.arange(width) / (2 * width))
    high = (radius >= 0.25) & (radius <= 0.5)
    expected = (power * gain)[high].sum() / power[high].sum()
    assert sharpness(after, before) == pytest.approx(expected, rel=1e-3)
    curve = spectrum_ratio(after, before)
    assert np.all(np.diff(curve) < 0)
    continuous = np.exp(-((2 * np.pi * before.frequencies * sigma) ** 2))
    assert np.abs(curve - continuous).max() < 0.05


@pytest.mark.parametrize("paired", [True, pytest.param(False, marks=pytest.mark.long)])
def test_errors_of_spectra_are_those_of_other_images(paired):
    """The stated errors are the scatter of the ratio over many sets of images."""
    rng = np.random.default_rng(0)
    ratios, errors = [], []
    for _ in range(200):
        images = [rng.normal(0, rng.uniform(5, 30), (8, 8, 1)) for _ in range(60)]
        others = images if paired else [rng.normal(0, 20, (8, 8, 1)) for _ in images]
        blurred = [gaussian_filter(p, (0.5, 0.5, 0)) + rng.normal(0, 5, p.shape) for p in others]
        curve = estimate_ratio(power_spectrum(blurred), power_spectrum(images), None, paired=paired)
        ratios.append(curve.values)
        errors.append(curve.errors)
    true = np.std(ratios, 0, ddof=1)
    assert np.mean(errors, 0) / true == pytest.approx(np.ones(4), abs=0.2)


def test_a_wave_has_its_power_at_its_frequency():
    modes = np.zeros((32, 32))
    modes[0, 16] = 1000  # 16 half waves over 32 pixels: a quarter of a cycle per pixel
    spectrum = power_spectrum([idctn(modes, norm="ortho")[..., None]])
    assert spectrum.frequencies[np.argmax(spectrum.power)] == pytest.approx(0.25, abs=1 / 32)
    assert spectrum.high_power == pytest.approx([1000**2], rel=1e-4)


def test_the_mean_of_an_image_has_no_power():
    flat = Images(np.full((3, 8, 8, 3), 200, np.uint8))
    assert power_spectrum(flat).power == pytest.approx(np.zeros(4), abs=1e-3)


def test_any_iterable_of_images_has_a_spectrum():
    images = noise_images(5)
    assert power_spectrum(images).power == pytest.approx(power_spectrum(iter(images)).power)
