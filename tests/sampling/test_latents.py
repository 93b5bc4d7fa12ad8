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
    assert activity.total_rate == pytest.approx(activity.rate.sum(), rel=1e-5)
    assert sorted(activity.order) == list(range(5))
    assert (np.diff(activity.rate[activity.order]) <= 0).all()


class Rescaled:
    """A model whose latents are z = a u + b of another's: it generates the same images.

    Its prior is learned, of the form z = f(u).
    """

    prior_is_learned = True

    def __init__(self, model, scale, shift):
        self.model, self.scale, self.shift = model, scale, shift
        self.latent_dim, self.latent_shape = model.latent_dim, model.latent_shape

    def from_noise(self, u):
        return (self.scale * u + self.shift).astype(np.float32)

    def to_noise(self, z):
        return ((z - self.shift) / self.scale).astype(np.float32)

    def encode(self, images):
        mean, std = self.model.encode(images)
        return Posterior(self.from_noise(mean), self.scale * std)

    def decode(self, z, labels=None):
        return self.model.decode(self.to_noise(z), labels)


@settings(deadline=None, max_examples=10)
@given(arrays(np.float32, 5, elements=st.floats(0.0625, 32, width=32)), st.floats(-5, 5, width=32))
def test_latent_figures_do_not_depend_on_the_scale_that_a_prior_learns(model, scale, shift):
    images, pair = blobs(), blobs()[3:5]
    plain, rescaled = model_without_elbo(model), Rescaled(model, scale, shift)
    expected = latents.latent_activity(plain, images)
    activity = latents.latent_activity(rescaled, images)
    assert np.allclose(activity.variance, expected.variance, rtol=1e-3, atol=1e-5)
    assert activity.active.tolist() == expected.active.tolist()
    assert activity.rate is None
    order = np.argsort(-expected.variance, kind="stable")[:3]
    traversal = latents.traverse(rescaled, images, 3, start=images[4], steps=7)
    assert traversal.latents == order.tolist()
    z = np.repeat(model.encode(images[4]).mean, 7, 0)
    z[:, order[1]] = np.linspace(-3, 3, 7)
    assert_images_close(traversal.images.pixels[7:14], model.decode(z).pixels)
    between = latents.interpolate_images(rescaled, pair, 5)
    assert_images_close(between.pixels, latents.interpolate_images(model, pair, 5).pixels)


def assert_images_close(a, b):
    assert np.abs(a.astype(int) - b.astype(int)).max() <= 1


def model_without_elbo(model):
    return Rescaled(model, np.ones(5, np.float32), 0.0)


def test_a_flow_is_traversed_in_its_noise():
    model, images = build_vae(prior="flow"), blobs()
    traversal = latents.traverse(model, images, 2, start=images[4], steps=5)
    u = np.repeat(model.to_noise(model.encode(images[4]).mean), 5, 0)
    u[:, traversal.latents[0]] = np.linspace(-3, 3, 5)
    expected = model.decode(model.from_noise(u))
    assert np.array_equal(traversal.images.pixels[:5], expected.pixels)
    assert traversal.rate is None
    assert np.allclose(model.from_noise(u), model.from_noise(model.to_noise(model.from_noise(u))))


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
