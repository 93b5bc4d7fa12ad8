"""Blur, cosine transform, SSIM and Student's t, against scipy and recorded values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.fft import dctn
from scipy.ndimage import gaussian_filter

from pinxit.data.images import Images
from pinxit.evaluation.gaussian_blur import filter_separably, gaussian_kernel
from pinxit.evaluation.power_spectrum import cosine_transform
from pinxit.evaluation.reconstruction import ssim
from pinxit.evaluation.student_t import t_interval

sides = st.integers(1, 20)


@settings(max_examples=30, deadline=None)
@given(sides, sides, st.sampled_from([1, 3]), st.floats(0.3, 4.0))
def test_blur_is_that_of_scipy(height, width, channels, sigma):
    images = np.random.default_rng(height).normal(size=(2, height, width, channels))
    expected = gaussian_filter(images, (0, sigma, sigma, 0))
    assert np.allclose(filter_separably(images, gaussian_kernel(sigma)), expected)


@settings(max_examples=20, deadline=None)
@given(sides, sides, st.sampled_from([1, 3]))
def test_cosine_transform_is_that_of_scipy(height, width, channels):
    images = np.random.default_rng(width).normal(size=(2, height, width, channels))
    images = images.astype(np.float32)
    expected = dctn(images, axes=(1, 2), norm="ortho")
    assert np.allclose(cosine_transform(images), expected, atol=1e-4)


@settings(max_examples=60, deadline=None)
@given(st.floats(1, 1e6), st.floats(0.05, 0.999))
def test_intervals_are_those_of_students_t(degrees, level):
    expected = stats.t.ppf(0.5 + level / 2, degrees)
    assert t_interval(level, degrees) == pytest.approx(expected, rel=1e-6)


def test_infinitely_many_degrees_are_the_normal_distribution():
    assert t_interval(0.95, float("inf")) == pytest.approx(1.959963985, abs=1e-8)


def images_for_ssim(side: int, channels: int) -> tuple[Images, Images]:
    y, x = np.mgrid[:side, :side]
    first = np.stack([(7 * x + 11 * y * (c + 1)) % 256 for c in range(channels)], -1)
    second = np.clip(first * 0.8 + 20 + 9 * ((x + 2 * y) % 5 == 0)[..., None], 0, 255)
    return Images(first[None].astype(np.uint8)), Images(second[None].astype(np.uint8))


# scikit-image 0.26.0, structural_similarity(a, b, data_range=255, channel_axis=-1, ...) of the
# images above: from a side of 11 on with gaussian_weights=True, sigma=1.5 and
# use_sample_covariance=False, below with win_size of the largest odd size up to 7
SCIKIT_IMAGE = {
    (3, 1): 0.724715151473,
    (3, 3): 0.838085074221,
    (4, 1): 0.821821525550,
    (4, 3): 0.895775365793,
    (7, 1): 0.948024332639,
    (7, 3): 0.963738524365,
    (10, 1): 0.962783802270,
    (10, 3): 0.969299407229,
    (11, 1): 0.958342543908,
    (11, 3): 0.965954859114,
    (32, 1): 0.959078590499,
    (32, 3): 0.967492686057,
}


@pytest.mark.parametrize(("side", "channels"), list(SCIKIT_IMAGE))
def test_ssim_is_that_of_scikit_image(side, channels):
    a, b = images_for_ssim(side, channels)
    assert ssim(a, b) == pytest.approx([SCIKIT_IMAGE[side, channels]], abs=1e-9)
    assert ssim(a, a) == pytest.approx([1.0])
