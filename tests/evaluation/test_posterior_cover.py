"""The training images that a z could stand for, against direct sums."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pinxit.data.images import Images
from pinxit.evaluation.posterior_cover import (
    GivenLabels,
    Region,
    cover_weights,
    distance_to_average,
    find_cover,
)
from pinxit.models import vae
from pinxit.models.results import Posterior
from tests.builders import blobs, build_vae


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 30), st.integers(1, 5), st.integers(0, 1_000))
def test_weights_are_the_share_of_each_posterior(n, dim, seed):
    rng = np.random.default_rng(seed)
    posterior = Posterior(rng.normal(size=(n, dim)), rng.uniform(0.05, 1, (n, dim)))
    z = rng.normal(size=(4, dim))
    mean, std = map(torch.from_numpy, posterior)
    log_q = torch.distributions.Normal(mean, std).log_prob(torch.from_numpy(z)[:, None]).sum(-1)
    weights = cover_weights(posterior, z.astype(np.float64))
    assert np.allclose(weights, log_q.softmax(1).numpy(), atol=1e-5)


def test_the_average_is_the_mean_of_images_at_one_place():
    """Three images with the same posterior, and one far away: the average is of the three."""
    images = blobs(4)
    mean = np.array([[0.0], [0.0], [0.0], [50.0]])
    posterior = Posterior(mean, np.ones((4, 1)))
    region = Region.of_model(build_vae(), images)
    cover = find_cover(posterior, images, np.array([[0.0], [50.0]]), region)
    expected = images.pixels[:3].astype(float).mean(0)
    assert np.allclose(cover.averages[0], expected, atol=1e-3)
    assert np.allclose(cover.averages[1], images.pixels[3])
    assert cover.effective_number == pytest.approx([3, 1])
    assert cover.best == 0
    assert set(cover.nearest[0][:3]) == {0, 1, 2}
    rounded = cover.averages.round().astype(np.uint8)
    assert distance_to_average(cover, rounded).value < 0.6


def test_a_grid_is_compared_at_one_position():
    images = blobs(12, 16, 16)
    config = vae.Config(latents="grid", downscale=4, latent_channels=3, width=8, depth=1)
    model = vae.build(config.resolve(images.info()), images.info())
    region = Region.of_model(model, images)
    assert region.is_patch
    assert len(region.latents) == 3
    grid = np.arange(3 * 4 * 4).reshape(3, 4, 4)
    assert list(region.latents) == list(grid[:, 2, 2])
    assert region.crop(images.pixels).shape == (12, 8, 12, 1) or region.crop(
        images.pixels
    ).shape == (12, 12, 12, 1)
    posterior = model.encode(images)
    selected = region.select(posterior, 5)[1]
    assert np.array_equal(selected.mean, posterior.mean[:, :, 2, 2])
    cover = find_cover(selected, images, selected.mean[:2], region)
    assert cover.averages.shape[1:] == region.crop(images.pixels).shape[1:]


def test_one_training_image_covers_everything():
    images = Images(blobs(1).pixels)
    posterior = Posterior(np.zeros((1, 5)), np.ones((1, 5)))
    cover = find_cover(posterior, images, np.ones((3, 5)), Region.of_model(build_vae(), images))
    assert cover.effective_number == pytest.approx([1, 1, 1])


def test_the_average_is_of_images_of_the_label_that_the_decoder_is_given():
    """Where the label alone determines x, the average is the image of that label."""
    random = np.random.default_rng(0)
    labels = np.arange(40) % 4
    patterns = random.integers(0, 256, (4, 8, 8, 1), np.uint8)
    images = Images(patterns[labels])
    posterior = Posterior(np.zeros((40, 2)), np.ones((40, 2)))
    region = Region.of_model(build_vae(), images)
    given = GivenLabels(labels, np.arange(4))
    cover = find_cover(posterior, images, random.normal(size=(4, 2)), region, labels=given)
    assert distance_to_average(cover, patterns).value < 1e-3
    assert cover.effective_number == pytest.approx([10] * 4)
    assert all((labels[row] == label).all() for label, row in enumerate(cover.nearest))
    blind = find_cover(posterior, images, random.normal(size=(4, 2)), region)
    assert distance_to_average(blind, patterns).value > 20


def test_a_label_without_training_images_is_compared_with_all():
    posterior = Posterior(np.zeros((3, 1)), np.ones((3, 1)))
    given = GivenLabels(np.array([0, 0, 1]), np.array([2, 1]))
    weights = cover_weights(posterior, np.zeros((2, 1), np.float32), given)
    assert np.allclose(weights, [[1 / 3] * 3, [0, 0, 1]])
