"""Interpolation, traversal and activity of latents."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pinxit.errors import UsageError
from pinxit.models.results import Posterior
from pinxit.sampling import latents
from tests.builders import blobs, build_vae


@pytest.fixture(scope="module")
def model():
    return build_vae()


vectors = arrays(np.float32, 4, elements=st.floats(-10, 10, width=32))


@settings(suppress_health_check=[HealthCheck.too_slow])  # on a busy machine
@given(vectors, vectors, st.sampled_from(["spherical", "linear"]))
def test_an_interpolation_starts_and_ends_at_its_ends(a, b, path):
    z = latents.interpolate(a, b, 7, path)
    assert z.shape == (7, 4)
    assert z.dtype == np.float32
    assert np.allclose(z[0], a, atol=1e-4)
    assert np.allclose(z[-1], b, atol=1e-4)
    assert np.isfinite(z).all()


def test_spherical_interpolation_keeps_the_norm_and_turns_evenly():
    a, b = np.array([3.0, 0, 0]), np.array([0, 3.0, 0])
    z = latents.interpolate(a, b, 4, "spherical")
    angles = np.deg2rad([0, 30, 60, 90])
    expected = 3 * np.stack([np.cos(angles), np.sin(angles), np.zeros(4)], 1)
    assert np.allclose(z, expected, atol=1e-6)
    assert np.allclose(latents.interpolate(a, b, 3, "linear")[1], [1.5, 1.5, 0])


def test_opposite_and_zero_latents_can_be_interpolated():
    a = np.array([1.0, 0.0])
    assert np.isfinite(latents.interpolate(a, -a, 5)).all()
    assert np.allclose(latents.interpolate(np.zeros(2), a, 3)[1], [0.5, 0])


def test_fewer_than_two_steps_are_an_error():
    with pytest.raises(UsageError, match="at least 2 steps"):
        latents.interpolate(np.zeros(2), np.ones(2), 1)


def test_image_interpolation_starts_and_ends_at_the_reconstructions(model):
    pair = blobs()[3:5]
    images = latents.interpolate_images(model, pair, 6)
    expected = model.reconstruct(pair)
    assert np.array_equal(images.pixels[[0, -1]], expected.pixels)
    with pytest.raises(UsageError, match="not 1"):
        latents.interpolate_images(model, pair[:1], 6)


@pytest.mark.parametrize("prior", ["standard", "flow"])
def test_seed_interpolation_starts_and_ends_at_the_samples(prior):
    model = build_vae(prior=prior)
    images = latents.interpolate_seeds(model, (3, 8), 5)
    assert np.array_equal(images.pixels[:1], model.sample(1, seed=3).pixels)
    assert np.array_equal(images.pixels[-1:], model.sample(1, seed=8).pixels)


def test_the_label_changes_halfway():
    model = build_vae(condition="label")
    pair = blobs()[[0, 1]]
    images = latents.interpolate_images(model, pair, 4)
    z = latents.interpolate(*model.encode(pair).mean, 4)
    expected = model.decode(z, pair.labels[[0, 0, 1, 1]])
    assert np.array_equal(images.pixels, expected.pixels)


def test_the_closed_form_kl_equals_that_of_torch():
    rng = np.random.default_rng(0)
    posterior = Posterior(rng.normal(size=(9, 4)), rng.uniform(0.1, 2, (9, 4)))
    q = torch.distributions.Normal(*map(torch.from_numpy, posterior))
    p = torch.distributions.Normal(0.0, 1.0)
    expected = torch.distributions.kl_divergence(q, p).numpy()
    assert np.allclose(latents.gaussian_kl(posterior), expected)


def test_the_kl_of_the_elbo_equals_that_of_the_posterior(model):
    images = blobs()
    activity = latents.latent_activity(model, images)
    posterior = model.encode(images)
    assert np.allclose(activity.variance, posterior.mean.var(0))
    # the ELBO is of dequantized images: it differs by a little noise
    assert np.allclose(activity.rate, latents.gaussian_kl(posterior).mean(0), rtol=0.05, atol=1e-3)
    assert sorted(activity.order) == list(range(5))
    assert (np.diff(activity.rate[activity.order]) <= 0).all()


def test_a_traversal_moves_one_latent_at_a_time_the_most_active_first(model):
    images = blobs()
    traversal = latents.traverse(model, images, 3, start=images[4], steps=7)
    rates = latents.latent_activity(model, images).rate
    assert traversal.latents == np.argsort(-rates)[:3].tolist()
    assert len(traversal.images) == 21
    z = np.repeat(model.encode(images[4]).mean, 7, 0)
    z[:, traversal.latents[1]] = np.linspace(-3, 3, 7)
    assert np.array_equal(traversal.images.pixels[7:14], model.decode(z).pixels)


@pytest.mark.parametrize("num_latents", [0, 6])
def test_a_number_of_latents_out_of_range_is_an_error(model, num_latents):
    with pytest.raises(UsageError, match="has 5 latents"):
        latents.traverse(model, blobs(), num_latents)
