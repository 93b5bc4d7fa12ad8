"""Peak signal-to-noise ratio."""

from __future__ import annotations

import numpy as np
import pytest

from pinxit.data.psnr import ROUNDING_MSE, psnr


def test_psnr_of_known_errors():
    assert psnr(np.array([1, 0.1, 0.01])) == pytest.approx([0, 10, 20])
    assert psnr(0.04) == pytest.approx(13.979, abs=1e-3)


def test_psnr_of_equal_images_is_bounded_by_rounding_unless_min_mse_is_0():
    assert psnr(0) == psnr(ROUNDING_MSE / 2) == pytest.approx(58.9, abs=0.1)
