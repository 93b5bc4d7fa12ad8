"""Principal components of pixels."""

from __future__ import annotations

import numpy as np
import pytest

from pinxit.data.images import Images
from pinxit.evaluation.pixel_components import MAX_SIDE, NUM_COMPONENTS, PixelComponents
from tests.builders import blobs, noise_images


def test_distances_of_small_images_are_those_of_their_pixels():
    images = blobs(90)  # 64 pixels: as many components
    pixels = images.pixels.reshape(90, -1).astype(float)
    features = PixelComponents.fit(images).embed(images)
    assert features.shape == (90, NUM_COMPONENTS)
    for i in range(1, 90):
        distance = np.linalg.norm(pixels[i] - pixels[0])
        assert np.linalg.norm(features[i] - features[0]) == pytest.approx(distance, rel=1e-3)


@pytest.mark.parametrize(("height", "width", "channels"), [(1, 3, 1), (20, 70, 3), (16, 16, 1)])
def test_images_of_any_size_have_components(height, width, channels):
    images = noise_images(10, height, width, channels)
    cells = min(height, MAX_SIDE) * min(width, MAX_SIDE) * channels
    features = PixelComponents.fit(images).embed(images)
    assert features.shape == (10, min(cells, NUM_COMPONENTS))
    assert np.isfinite(features).all()


def test_no_images_and_equal_images_are_allowed():
    images = Images(np.zeros((5, 4, 4, 1), np.uint8))
    space = PixelComponents.fit(images)
    assert space.embed(images[:0]).shape == (0, 16)
    assert (space.embed(images) == 0).all()
