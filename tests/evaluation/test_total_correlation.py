"""The parts of the rate against quadrature in two latents and against a Gaussian's closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pinxit.evaluation.total_correlation import count_images, split_rate
from pinxit.models.results import Posterior


def standard_normal(n: int, dim: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed))


def random_posterior(n: int, dim: int, seed: int = 0) -> Posterior:
    rng = np.random.default_rng(seed)
    mean = rng.normal(size=(n, dim)) @ rng.normal(size=(dim, dim)) / math.sqrt(dim)
    return Posterior(mean, rng.uniform(0.1, 0.9, (n, dim)))


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 60), st.integers(1, 6), st.integers(0, 10_000))
def test_the_parts_sum_to_the_rate(n, dim, seed):
    parts = split_rate(random_posterior(n, dim, seed), standard_normal(n, dim, seed))
    total = parts.information.value + parts.total_correlation.value + parts.dimension_wise.value
    assert total == pytest.approx(parts.rate.value, abs=1e-4)
    assert parts.marginal_kl.value == pytest.approx(
        parts.total_correlation.value + parts.dimension_wise.value
    )
    assert parts.information.value <= math.log(n) + 1e-5
    if dim == 1:  # one latent is correlated with no other
        assert parts.total_correlation.value == pytest.approx(0, abs=1e-4)


def test_the_parts_equal_the_integrals_in_two_latents():
    posterior = random_posterior(30, 2, seed=3)
    axis = torch.linspace(-7, 7, 201, dtype=torch.float64)
    cell = float(axis[1] - axis[0])
    z = torch.cartesian_prod(axis, axis)
    mean, std = map(torch.from_numpy, posterior)
    log_q = torch.distributions.Normal(mean, std).log_prob(z[:, None]).sum(-1)
    aggregate = (log_q.logsumexp(1) - math.log(30)).exp().reshape(201, 201)
    prior = torch.distributions.Normal(0.0, 1.0).log_prob(axis)
    marginals = [aggregate.sum(1 - k) * cell for k in (0, 1)]
    dimension_wise = sum(
        float((q * (q.clamp(min=1e-300).log() - prior)).sum()) * cell for q in marginals
    )
    product = marginals[0][:, None] * marginals[1]
    ratio = (aggregate / product).clamp(min=1e-300).log()
    total_correlation = float((aggregate * ratio).sum()) * cell**2
    draws = [split_rate(posterior, standard_normal(30, 2, seed)) for seed in range(150)]
    for name, exact in (
        ("total_correlation", total_correlation),
        ("dimension_wise", dimension_wise),
    ):
        values = np.array([getattr(parts, name).value for parts in draws])
        error = values.std() / math.sqrt(len(values))
        assert abs(values.mean() - exact) < 4 * error, name
        assert error < 0.08 * max(exact, 0.1)


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_total_correlation_equals_that_of_a_gaussian(correlation):
    """Means N(0, A) and a common std s: q(z) = N(0, A + s^2 I), whose parts are closed forms."""
    n, s, rng = 1_500, 0.6, np.random.default_rng(1)
    a = (1 - s**2) * np.array([[1.0, correlation], [correlation, 1.0]])
    mean = rng.multivariate_normal(np.zeros(2), a, n)
    parts = split_rate(Posterior(mean, np.full((n, 2), s)), standard_normal(n, 2))
    r = (1 - s**2) * correlation  # of z: its variances are 1, so that the marginals are the prior's
    exact = -0.5 * math.log(1 - r**2)
    assert abs(parts.total_correlation.value - exact) < 4 * parts.total_correlation.error + 0.02
    assert parts.total_correlation.error < 0.04
    assert abs(parts.dimension_wise.value) < 4 * parts.dimension_wise.error + 0.02


def test_the_errors_are_those_of_other_images():
    values, errors = [], []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        mean = rng.normal(size=(80, 1)) * rng.choice([0.3, 1.5], (80, 1)) + np.zeros((1, 2))
        posterior = Posterior(mean, np.full((80, 2), 0.5))
        parts = split_rate(posterior, standard_normal(80, 2, seed))
        measured = (parts.total_correlation, parts.dimension_wise, parts.marginal_kl)
        values.append([part.value for part in measured])
        errors.append([part.error for part in measured])
    ratio = np.mean(errors, 0) / np.std(values, 0)
    assert ((ratio > 0.75) & (ratio < 1.35)).all(), ratio


def test_many_latents_are_measured_on_fewer_images():
    assert count_images(2, 500) == 500
    assert count_images(50_000, 10_000) < 100
    assert count_images(10**12, 10_000) == 2
