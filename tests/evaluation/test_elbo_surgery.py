"""The parts of the KL term against integrals over a grid of two latents."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pinxit.evaluation import elbo_surgery
from pinxit.evaluation.elbo_surgery import compare_with_aggregate, surgery_metrics
from pinxit.models.results import Posterior
from pinxit.sampling.elbo import elbo_terms
from tests.builders import blobs, build_vae


def random_posterior(n: int = 40) -> Posterior:
    rng = np.random.default_rng(0)
    return Posterior(rng.normal(size=(n, 2)), rng.uniform(0.1, 0.8, (n, 2)))


def log_q_on_grid(posterior: Posterior) -> tuple[torch.Tensor, torch.Tensor, float]:
    """z, log q(z|x_j) of all images, and the area of a cell."""
    axis = torch.linspace(-6, 6, 601, dtype=torch.float64)
    z = torch.cartesian_prod(axis, axis)
    mean, std = map(torch.from_numpy, posterior)
    log_q = torch.distributions.Normal(mean, std).log_prob(z[:, None]).sum(-1)
    return z, log_q, float(axis[1] - axis[0]) ** 2


def test_information_and_marginal_kl_equal_the_integrals():
    posterior = random_posterior()
    z, log_q, area = log_q_on_grid(posterior)
    log_aggregate = log_q.logsumexp(1) - math.log(40)
    exact = (log_q.exp() * (log_q - log_aggregate[:, None])).sum(0).mean().item() * area
    prior = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1)
    marginal = (log_aggregate.exp() * (log_aggregate - prior)).sum().item() * area
    rates = (log_q.exp() * (log_q - prior[:, None])).sum(0).mean().item() * area
    assert rates == pytest.approx(exact + marginal, abs=1e-6)  # Hoffman & Johnson 2016, eq. 8
    generator = torch.Generator().manual_seed(0)
    draws = [
        compare_with_aggregate(posterior, torch.randn(40, 2, generator=generator)).information
        for _ in range(300)
    ]
    values = np.mean(draws, axis=1)
    assert abs(values.mean() - exact) < 4 * values.std() / math.sqrt(300)
    assert values.std() < 0.2
    assert 0 < exact < math.log(40)


def test_blocks_give_the_plain_sums(monkeypatch):
    posterior, noise = random_posterior(), torch.randn(40, 2)
    monkeypatch.setattr(elbo_surgery, "ROWS_PER_BLOCK", 7)
    aggregate = compare_with_aggregate(posterior, noise)
    mean, std = map(torch.from_numpy, posterior)
    z = mean + std * noise.double()
    log_q = torch.distributions.Normal(mean, std).log_prob(z[:, None]).sum(-1)
    own, log_aggregate = log_q.diagonal(), log_q.logsumexp(1) - math.log(40)
    assert np.allclose(aggregate.information, (own - log_aggregate).numpy())
    assert np.allclose(aggregate.responsibility, log_q.softmax(1).sum(0).numpy(), atol=1e-5)
    assert aggregate.responsibility.mean() == pytest.approx(1)


def test_identical_posteriors_carry_no_information_and_distant_ones_log_n():
    same = Posterior(np.zeros((30, 3)), np.ones((30, 3)))
    noise = torch.randn(30, 3, generator=torch.Generator().manual_seed(0))
    assert np.allclose(compare_with_aggregate(same, noise).information, 0, atol=1e-9)
    apart = Posterior(np.arange(90.0).reshape(30, 3), np.full((30, 3), 1e-3))
    assert np.allclose(compare_with_aggregate(apart, noise).information, math.log(30))


def test_the_error_is_that_of_other_images():
    """The stated error equals the deviation between data sets, q(z) included."""
    rng, values, errors = np.random.default_rng(1), [], []
    for _ in range(200):
        mean = rng.normal(size=(60, 1)) * rng.choice([0.2, 2], (60, 1))
        posterior = Posterior(mean, np.full((60, 1), 0.5))
        noise = torch.from_numpy(rng.normal(size=(60, 1)))
        aggregate = compare_with_aggregate(posterior, noise)
        influence = aggregate.information - (aggregate.responsibility - 1)
        values.append(influence.mean())
        errors.append(influence.std(ddof=1) / math.sqrt(60))
    assert 0.8 < np.mean(errors) / np.std(values) < 1.25


@pytest.mark.parametrize("prior", ["standard", "flow"])
@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_the_parts_of_the_rate_sum_to_it(prior, likelihood):
    model, images = build_vae(prior=prior, likelihood=likelihood), blobs()
    rate = elbo_terms(model, images).rate.sum(1)
    metrics = dict(surgery_metrics(model, images, rate))
    parts = [metrics[name].value for name in ("mutual_information", "marginal_kl")]
    assert sum(parts) == pytest.approx(rate.mean())
    assert 0 < parts[0] <= math.log(96)
    assert all(metric.error > 0 for metric in metrics.values())
