"""Estimates from importance weights and their diagnostics, against the plain formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import genpareto

from pinxit.evaluation.importance import (
    estimate_from_weights,
    fit_generalized_pareto,
    log_mean_exp,
    pareto_k,
)


def random_weights(images: int = 7, samples: int = 300) -> torch.Tensor:
    return 30 * torch.randn(images, samples, generator=torch.Generator().manual_seed(0)) - 2_000


def test_estimates_equal_those_of_the_plain_formulas():
    weights = random_weights()
    estimate = estimate_from_weights(weights)
    w = weights.double()
    assert torch.allclose(estimate.log_likelihood, w.logsumexp(1) - math.log(300))
    assert torch.allclose(estimate.half, log_mean_exp(w[:, :150]))
    assert torch.allclose(estimate.quarter, log_mean_exp(w[:, :75]))
    normalized = torch.softmax(w, 1)
    assert torch.allclose(estimate.ess, 1 / normalized.square().sum(1))
    relative = (w - w.amax(1, True)).exp()
    error = relative.std(1) / math.sqrt(300) / relative.mean(1)
    assert torch.allclose(estimate.std_error, error)


def test_equal_weights_have_no_error_and_full_effective_sample_size():
    estimate = estimate_from_weights(torch.full((2, 100), -100.0))
    assert estimate.log_likelihood.tolist() == pytest.approx([-100, -100])
    assert estimate.std_error.tolist() == pytest.approx([0, 0], abs=1e-6)
    assert estimate.ess.tolist() == pytest.approx([100, 100])
    assert estimate.pareto_k.tolist() == [0, 0]


def test_the_error_of_one_sample_is_nan():
    estimate = estimate_from_weights(torch.zeros(1, 1))
    assert estimate.std_error.isnan().all()
    assert estimate.pareto_k.isnan().all()


@pytest.mark.parametrize("shape", [-0.3, 0.2, 0.7, 1.5])
def test_the_fit_finds_the_shape_of_a_generalized_pareto_distribution(shape):
    x = genpareto.rvs(shape, scale=3, size=(20, 2_000), random_state=0)
    fitted = fit_generalized_pareto(torch.from_numpy(np.sort(x, 1)))
    assert fitted.mean().item() == pytest.approx(shape, abs=0.03)
    assert fitted.std().item() < 0.1


@pytest.mark.parametrize(("moments", "expected"), [(10.0, 0.1), (2.0, 0.5), (1.0, 1.0)])
def test_pareto_k_is_one_over_the_number_of_finite_moments_of_the_weights(moments, expected):
    """w = u^(-1 / moments) has a Pareto tail: E w^m is finite for m below `moments`."""
    u = torch.rand(50, 20_000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    log_w = -u.log() / moments
    assert pareto_k(log_w).mean().item() == pytest.approx(expected, abs=0.05)
    # the scale of the weights has no effect
    assert torch.allclose(pareto_k(log_w - 1e4), pareto_k(log_w), atol=1e-6)
