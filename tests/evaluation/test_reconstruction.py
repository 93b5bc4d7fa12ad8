"""MSE, PSNR and SSIM of reconstructions."""

from __future__ import annotations

import numpy as np
import pytest

from pinxit.data.images import Images
from pinxit.data.psnr import psnr
from pinxit.evaluation.reconstruction import mse_per_image, reconstruction_metrics, ssim
from tests.builders import noise_images, values_of


def test_mse_and_psnr_of_a_known_error():
    black = Images(np.zeros((2, 8, 8, 1), np.uint8))
    grey = Images(np.stack([np.full((8, 8, 1), 51), np.full((8, 8, 1), 0)]).astype(np.uint8))
    mse = mse_per_image(black, grey)
    assert mse == pytest.approx([0.04, 0])
    assert psnr(mse)[0] == pytest.approx(10 * np.log10(1 / 0.04))
    assert np.isfinite(psnr(mse)).all()


@pytest.mark.parametrize(("height", "width"), [(3, 3), (8, 8), (9, 30), (16, 16)])
@pytest.mark.parametrize("channels", [1, 3])
def test_ssim_is_one_for_equal_images_and_less_for_others(height, width, channels):
    images = noise_images(4, height, width, channels)
    assert ssim(images, images) == pytest.approx(np.ones(4))
    assert (ssim(images, noise_images(4, height, width, channels, seed=1)) < 0.9).all()


def test_images_too_small_for_ssim_have_none():
    images = noise_images(4, 2, 2)
    assert "ssim" not in values_of(reconstruction_metrics(images, images))
