"""Densities fitted to latents: normalized, sampled as they say, and better than a wrong prior."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pinxit.errors import UsageError
from pinxit.models import latent_densities
from pinxit.models.latent_densities import (
    FlowDensity,
    MixtureDensity,
    fit_flow,
    fit_mixture,
)
from pinxit.models.results import Posterior


def clusters(n: int, dim: int, seed: int, std: float = 0.1) -> Posterior:
    """Latents around -2 and 2 along the first axis, and correlated beyond."""
    rng = np.random.default_rng(seed)
    mean = 0.3 * rng.normal(size=(n, dim))
    mean[:, 0] += rng.choice([-2.0, 2.0], n)
    mean[:, -1] += 0.5 * mean[:, 0]
    return Posterior(mean.astype(np.float32), np.full((n, dim), std, np.float32))


@pytest.fixture(autouse=True)
def _few_rows(monkeypatch):
    monkeypatch.setattr(latent_densities, "MIN_ROWS", 300)
    monkeypatch.setattr(latent_densities, "FLOW_STEPS", 20)
    monkeypatch.setattr(latent_densities, "COMPONENTS", (1, 4))


@pytest.mark.parametrize("fit", [fit_mixture, fit_flow])
def test_a_density_integrates_to_one_over_two_latents(fit):
    density = fit(clusters(300, 2, 0), clusters(100, 2, 1))
    axis = np.linspace(-6, 6, 80)
    grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2).astype(np.float32)
    total = np.exp(density.log_prob(grid)).sum() * (axis[1] - axis[0]) ** 2
    assert total == pytest.approx(1, abs=0.02)


@settings(max_examples=10, deadline=None)
@given(dim=st.integers(2, 90), seed=st.integers(0, 100))
def test_samples_of_a_mixture_have_its_own_entropy(dim, seed):
    """E log r(z) over samples of r is minus its entropy, also where directions share a variance."""
    rng = np.random.default_rng(seed)
    directions = min(dim, 3)
    basis = np.linalg.qr(rng.normal(size=(dim, directions)))[0]
    factor = np.tril(rng.normal(size=(1, directions, directions)) * 0.3) + np.eye(directions)
    scale = rng.uniform(0.5, 2, dim)
    mixture = MixtureDensity(
        rng.normal(size=dim), scale, basis, np.ones(1), np.zeros((1, directions)), factor, 0.7
    )
    entropy = dim * 0.5 * (1 + math.log(2 * math.pi)) + np.log(scale).sum()
    entropy += np.log(np.abs(np.diag(factor[0]))).sum() + (dim - directions) * math.log(0.7)
    values = mixture.log_prob(mixture.sample(2_000, seed))
    assert abs(values.mean() + entropy) < 5 * values.std() / math.sqrt(2_000)


def test_a_mixture_finds_clusters_that_one_gaussian_misses():
    train, held_out = clusters(2_000, 5, 0), clusters(500, 5, 1)
    mixture = fit_mixture(train, held_out)
    assert mixture.num_components > 1
    single = latent_densities._fit_components(train.mean, 1, 0)
    assert single is not None
    z = held_out.mean
    assert mixture.log_prob(z).mean() > single.log_prob(z).mean() + 0.5
    samples = mixture.sample(2_000, 3)
    assert np.abs(samples[:, 0]).min() > 0.3  # none between the clusters
    assert abs((samples[:, 0] > 0).mean() - 0.5) < 0.06


def test_a_mixture_is_fitted_to_all_latents_and_has_as_many_components_as_they_show(monkeypatch):
    """It was fitted to 6,000 of them, which determine 5 components of 64 latents."""
    rng = np.random.default_rng(0)
    centres = 4 * rng.normal(size=(20, 3))
    mean = centres[rng.integers(20, size=9_000)] + 0.1 * rng.normal(size=(9_000, 3))
    std = np.full((9_000, 3), 0.05, np.float32)
    train, held_out = (
        Posterior(mean[rows].astype(np.float32), std[rows])
        for rows in (slice(8_000), slice(8_000, None))
    )
    tried = []
    fit = latent_densities._fit_components

    def count(z, num_components, *rest):
        tried.append((len(z), num_components))
        return fit(z, num_components, *rest)

    monkeypatch.setattr(latent_densities, "_fit_components", count)
    monkeypatch.setattr(latent_densities, "COMPONENTS", (1, 4, 20))
    assert fit_mixture(train, held_out).num_components == 20
    assert tried == [(8_000, 1), (8_000, 4), (8_000, 20)]
    tried.clear()
    monkeypatch.setattr(latent_densities, "COMPONENTS", (20, 1, 4))
    assert fit_mixture(train, held_out).num_components == 20
    assert len(tried) == 2, "one that is worse on held-out latents ends the search"


@settings(max_examples=6, deadline=None)
@given(num_unused=st.integers(1, 60), seed=st.integers(0, 50))
def test_unused_latents_cost_a_mixture_nothing(num_unused, seed):
    """Each component had a covariance with all of them, fitted to their noise."""
    rng = np.random.default_rng(seed)
    train, held_out = clusters(1_500, 4, seed), clusters(400, 4, seed + 1)
    places = rng.permutation(4 + num_unused)
    noisy = []
    for part in (train, held_out):
        n = len(part.mean)
        mean = np.concatenate([part.mean, 0.05 * rng.normal(size=(n, num_unused))], 1)
        std = np.concatenate([part.std, np.full((n, num_unused), 0.98)], 1)
        noisy.append(Posterior(*(a[:, places].astype(np.float32) for a in (mean, std))))
    mixture, alone = fit_mixture(*noisy), fit_mixture(train, held_out)
    assert mixture.basis.shape == (4 + num_unused, 4)
    assert mixture.num_components == alone.num_components
    z = rng.normal(size=(20_000, 4 + num_unused)).astype(np.float32)
    rows = rng.integers(len(held_out.mean), size=len(z))
    z[:, :4] = held_out.take(rows).draw(z[:, :4])[0]
    unused = -0.5 * (np.square(z[:, 4:]).sum(1) + num_unused * math.log(2 * math.pi))
    difference = mixture.log_prob(z[:, places]) - unused - alone.log_prob(z[:, :4])
    assert abs(difference.mean()) < 0.05 + 0.002 * num_unused
    assert mixture.sample(3_000, 1)[:, np.argsort(places)[4:]].std() == pytest.approx(1, abs=0.05)


def test_many_latents_that_say_a_little_each_are_all_in_use():
    rng = np.random.default_rng(0)
    weak = 0.15 * rng.normal(size=(2_000, 40)), np.full((2_000, 40), 0.99)
    posterior = Posterior(*(a.astype(np.float32) for a in weak))
    assert latent_densities._find_used(posterior) is None
    strong = Posterior(posterior.mean.copy(), posterior.std)
    strong.mean[:, 3] *= 2  # says more than the others, and less than they together
    assert latent_densities._find_used(strong) is None
    strong.mean[:, 3:9] *= 30
    used = latent_densities._find_used(strong)
    assert used is not None
    assert used.tolist() == list(range(3, 9))


def test_a_flow_gains_over_its_start():
    train, held_out = clusters(1_000, 4, 0), clusters(300, 4, 1)
    flow = fit_flow(train, held_out, steps=40)
    gaussian = fit_flow(train, held_out, steps=1)
    assert flow.log_prob(held_out.mean).mean() > gaussian.log_prob(held_out.mean).mean() + 0.1


def test_the_gain_over_the_prior_is_below_the_divergence():
    """For q(z) = N(m, s^2 I) the divergence is a closed form, and the gain bounds it from below."""
    rng = np.random.default_rng(0)
    mean = rng.normal(0.8, 0.6, (3_000, 3)).astype(np.float32)
    posterior = Posterior(mean, np.full_like(mean, 0.3))
    train, valid = (
        Posterior(*(part[rows] for part in posterior))
        for rows in (slice(2_000), slice(2_000, None))
    )
    mixture = fit_mixture(train, valid)
    fresh = rng.normal(0.8, math.sqrt(0.6**2 + 0.3**2), (20_000, 3)).astype(np.float32)
    prior = -0.5 * (np.square(fresh).sum(1) + 3 * math.log(2 * math.pi))
    gain = mixture.log_prob(fresh) - prior
    variance = 0.6**2 + 0.3**2
    exact = 3 * 0.5 * (variance + 0.8**2 - 1 - math.log(variance))
    error = gain.std() / math.sqrt(len(gain))
    assert exact - 0.1 < gain.mean() < exact + 4 * error


@pytest.mark.parametrize("fit", [fit_mixture, fit_flow])
def test_image_i_is_a_function_of_seed_and_number(fit):
    density = fit(clusters(100, 3, 0), clusters(50, 3, 1))
    all_rows = density.sample(6, 4)
    assert np.allclose(density.sample(2, 4, start=3), all_rows[3:5], atol=1e-6)
    assert not np.allclose(density.sample(6, 5), all_rows)
    loaded = type(density).from_tensors(density.tensors())
    assert np.array_equal(loaded.sample(6, 4), all_rows)


def test_few_latents_and_constant_ones_are_fitted_too():
    same = Posterior(np.ones((2, 4), np.float32), np.full((2, 4), 1e-8, np.float32))
    for density in (fit_mixture(same, same), fit_flow(same, same, steps=3)):
        assert np.isfinite(density.sample(5)).all()
        assert np.isfinite(density.log_prob(same.mean)).all()
    wide = Posterior(*(np.asarray(a) for a in clusters(40, 500, 0)))
    mixture = fit_mixture(wide, wide)
    assert mixture.basis.shape[1] < 500
    assert np.isfinite(mixture.log_prob(wide.mean)).all()
    one = Posterior(np.zeros((1, 2), np.float32), np.ones((1, 2), np.float32))
    for fit in (fit_mixture, fit_flow):
        with pytest.raises(UsageError, match="two training images"):
            fit(one, one)


def test_fitting_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fit_flow(clusters(20, 2, 0), clusters(20, 2, 1), steps=2)
    assert torch.equal(torch.rand(3), expected)
    assert isinstance(FlowDensity(3).kind, str)
