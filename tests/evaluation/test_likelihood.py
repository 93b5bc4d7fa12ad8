"""Importance-weighted estimates against a model whose log-likelihood has a closed form."""

from __future__ import annotations

import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal, Normal

from pinxit.data.batch import DatasetInfo
from pinxit.evaluation import likelihood
from pinxit.evaluation.likelihood import iw_log_likelihood
from pinxit.models.results import Elbo
from pinxit.nn.rng import per_image_normal
from pinxit.sampling.elbo import elbo_terms
from tests.builders import blobs

DIMS, LATENT, SIGMA = 16, 3, 0.3


class LinearGaussian(nn.Module):
    """z ~ N(0, I), x ~ N(W z + b, s^2 I); q has the mean of the exact posterior and 1.2 times its
    standard deviation.

    log p(x) = log N(x; b, W W^T + s^2 I) (Tipping & Bishop 1999).
    """

    eight_bit = True
    likelihood_description = "gaussian"

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.w = nn.Parameter(0.4 * torch.randn(DIMS, LATENT, generator=generator))
        self.b = nn.Parameter(torch.full((DIMS,), 0.3))
        self.config = SimpleNamespace(latent_dim=LATENT)
        self.info = DatasetInfo(num_images=8, height=4, width=4, channels=1)

    @property
    def device(self):
        return self.b.device

    def observe(self, batch, seeds=None):
        return batch.pixels.permute(0, 3, 1, 2).float() / 255

    def exact(self, x):
        covariance = self.w @ self.w.T + SIGMA**2 * torch.eye(DIMS)
        return MultivariateNormal(self.b, covariance).log_prob(x.flatten(1))

    def q(self, x):
        precision = torch.eye(LATENT) + self.w.T @ self.w / SIGMA**2
        mean = (x.flatten(1) - self.b) @ self.w @ torch.linalg.inv(precision) / SIGMA**2
        return Normal(mean, 1.2 / precision.diagonal().sqrt().expand_as(mean))

    def likelihood(self, x, z):
        return Normal(z @ self.w.T + self.b, SIGMA).log_prob(x.flatten(1)[..., None, :]).sum(-1)

    def elbo(self, x, labels, seeds=None):
        q = self.q(x)
        z = q.mean + q.stddev * per_image_normal(len(x), (LATENT,), seeds)
        rate = torch.distributions.kl_divergence(q, Normal(0.0, 1.0))
        return Elbo(-self.likelihood(x, z[:, None])[:, 0], rate)

    def log_weights(self, x, labels, samples, seeds=None, defensive_share=0.0):
        q = self.q(x)
        seeds = [0] * len(x) if seeds is None else seeds
        noise = per_image_normal(len(x), (samples, LATENT), seeds)
        z = q.mean[:, None] + q.stddev[:, None] * noise
        log_q = Normal(q.mean[:, None], q.stddev[:, None]).log_prob(z).sum(-1)
        return self.likelihood(x, z) + Normal(0.0, 1.0).log_prob(z).sum(-1) - log_q


@pytest.fixture(scope="module")
def model():
    return LinearGaussian().eval()


@pytest.fixture(scope="module")
def images():
    return blobs(60, 4, 4)


@pytest.fixture(scope="module")
def exact(model, images):
    with torch.no_grad():
        return model.exact(model.observe(images.batch(np.arange(60)))).double().numpy()


def test_the_estimate_equals_the_exact_log_likelihood_within_its_error(model, images, exact):
    estimate = iw_log_likelihood(model, images, 2_000)
    log_p, error = estimate.log_likelihood, estimate.std_error
    assert np.abs((log_p - exact) / error).max() < 5
    assert abs(np.mean(log_p - exact)) < 4 * np.sqrt((error**2).sum()) / len(error)


def test_the_standard_error_has_the_size_of_the_deviation_between_seeds(model, images, exact):
    """z-scores over seeds have variance one: the error by the delta method is right."""
    z_scores = []
    for seed in range(20):
        estimate = iw_log_likelihood(model, images, 500, seed)
        z_scores.append((estimate.log_likelihood - exact) / estimate.std_error)
    assert 0.75 < np.std(z_scores) < 1.3


def test_elbo_is_below_iw_5_below_iw_50_below_exact(model, images, exact):
    def mean(k: int) -> float:
        return float(np.mean([iw_log_likelihood(model, images, k, s)[0] for s in range(40)]))

    mean_elbo = float(np.mean([elbo_terms(model, images, s).elbo for s in range(40)]))
    assert mean_elbo < mean(5) < mean(50) < exact.mean() + 0.01
    assert mean(5) - mean_elbo > 0.1  # the bounds of this model differ


def test_the_elbo_is_minus_distortion_minus_rate(model, images):
    terms = elbo_terms(model, images)
    assert np.allclose(terms.elbo, -terms.distortion - terms.rate.sum(1))
    metrics = dict(likelihood.elbo_metrics(model, terms))
    assert metrics["elbo"] == pytest.approx(-metrics["distortion"] - metrics["rate"])
    assert metrics["elbo_bits_per_dim"] == pytest.approx(-metrics["elbo"] / (DIMS * math.log(2)))
    assert metrics["elbo_error"] == pytest.approx(terms.elbo.std(ddof=1) / math.sqrt(60))


def test_an_estimate_is_a_function_of_the_seed_and_the_image_alone(model, images):
    def estimates(rows, seed=3):
        return iw_log_likelihood(model, images.take(np.array(rows)), 120, seed).log_likelihood

    every = estimates(np.arange(60))
    assert np.allclose(estimates([7, 59, 3]), every[[7, 59, 3]], atol=1e-4)
    assert np.allclose(estimates(np.arange(60)[::-1]), every[::-1], atol=1e-4)
    assert not np.allclose(every, estimates(np.arange(60), seed=4), atol=1e-3)
    # images of different names have their own samples
    renamed = dataclasses.replace(images, names=[f"other-{i}" for i in range(60)])
    other = iw_log_likelihood(model, renamed, 120, 3).log_likelihood
    assert not np.allclose(every, other, atol=1e-3)


def test_memory_does_not_grow_with_the_number_of_samples(model, images, monkeypatch):
    sizes = []
    monkeypatch.setattr(likelihood, "CPU_TILE_VALUES", DIMS * 200)
    log_weights = model.log_weights

    def record_size(x, labels, samples, seeds=None, defensive_share=0.0):
        sizes.append(len(x) * samples)
        return log_weights(x, labels, samples, seeds)

    monkeypatch.setattr(model, "log_weights", record_size)
    estimate = iw_log_likelihood(model, images, 1_010)
    assert max(sizes) <= 200
    assert sum(sizes) == 60 * 1_010
    assert np.isfinite(estimate.log_likelihood).all()
    assert (estimate.ess > 1).all()


def test_the_fast_path_of_a_model_is_used_if_it_applies(model, images):
    fast = LinearGaussian()
    fast.importance_log_weights = lambda x, labels, samples, seeds, share: torch.full(
        (len(x), samples), 7.0
    )
    assert np.allclose(iw_log_likelihood(fast, images, 10).log_likelihood, 7)
    fast.importance_log_weights = lambda x, labels, samples, seeds, share: None
    log_p = iw_log_likelihood(fast, images, 10).log_likelihood
    assert np.array_equal(log_p, iw_log_likelihood(model, images, 10).log_likelihood)


def test_the_default_number_of_images_depends_on_the_cost_of_the_model(model, images, monkeypatch):
    assert likelihood.default_num_images(model, images, 5_000) == 60  # cheap: all
    monkeypatch.setattr(likelihood, "MAX_DEFAULT_FLOPS", 1.0)
    assert likelihood.default_num_images(model, images, 5_000) == 20  # the minimum
    assert len(likelihood.select_images(model, images, 5_000, 7)) == 7


def test_a_small_effective_sample_size_gives_a_warning():
    assert not list(likelihood.ess_warnings({"effective_samples": 400.0}, 5_000))
    (warning,) = likelihood.ess_warnings({"effective_samples": 2.0}, 5_000)
    assert "loose" in warning
