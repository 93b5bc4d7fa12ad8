"""Importance-weighted estimates against a model whose log-likelihood has a closed form."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal, Normal

from pinxit.data.batch import DatasetInfo
from pinxit.evaluation import likelihood as measure
from pinxit.models.results import Elbo, ImportanceEstimate
from pinxit.sampling import elbo as bounds
from tests.builders import blobs

DIMS, LATENT, SIGMA = 16, 3, 0.3


class LinearGaussian(nn.Module):
    """z ~ N(0, I), x ~ N(W z + b, s^2 I); q has the exact posterior's mean, its spread 1.2 times.

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

    def observe(self, batch, generator=None):
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

    def elbo(self, x, labels, generator=None):
        q = self.q(x)
        z = q.mean + q.stddev * torch.randn(q.mean.shape, generator=generator)
        rate = torch.distributions.kl_divergence(q, Normal(0.0, 1.0))
        return Elbo(-self.likelihood(x, z[:, None])[:, 0], rate)

    def log_weights(self, x, labels, samples, generator=None):
        q = self.q(x)
        noise = torch.randn((len(x), samples, LATENT), generator=generator)
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


def test_the_estimate_is_the_exact_log_likelihood_within_its_own_error(model, images, exact):
    found, error, _ = measure.iw_log_likelihood(model, images, 2_000)
    assert np.abs((found - exact) / error).max() < 5
    assert abs(np.mean(found - exact)) < 4 * np.sqrt((error**2).sum()) / len(error)


def test_the_error_is_as_large_as_estimates_differ(model, images, exact):
    """z-scores over seeds have variance one: the delta method's error is of the right size."""
    scores = []
    for seed in range(20):
        found, error, _ = measure.iw_log_likelihood(model, images, 500, seed)
        scores.append((found - exact) / error)
    assert 0.75 < np.std(scores) < 1.3


def test_elbo_is_below_iw_5_below_iw_50_below_exact(model, images, exact):
    def mean(k: int) -> float:
        return float(
            np.mean([measure.iw_log_likelihood(model, images, k, s)[0] for s in range(40)])
        )

    elbo = float(np.mean([bounds.elbo_terms(model, images, s).elbo for s in range(40)]))
    assert elbo < mean(5) < mean(50) < exact.mean() + 0.01
    assert mean(5) - elbo > 0.1  # the model is one where the bounds are apart


def test_distortion_and_rate_make_the_elbo(model, images):
    found = bounds.elbo_terms(model, images)
    assert np.allclose(found.elbo, -found.distortion - found.rate.sum(1))
    figures = dict(measure.elbo_metrics(model, found))
    assert figures["elbo"] == pytest.approx(-figures["distortion"] - figures["rate"])
    assert figures["elbo_bits_per_dim"] == pytest.approx(-figures["elbo"] / (DIMS * math.log(2)))
    assert figures["elbo_error"] == pytest.approx(found.elbo.std(ddof=1) / math.sqrt(60))


def test_running_sums_are_the_sums_over_all_at_once():
    weights = 30 * torch.randn(7, 300, generator=torch.Generator().manual_seed(0)) - 2_000
    weights[:, 0] = -3_000  # the first part far below the others
    running = measure.RunningLogMeanExp(7)
    for part in weights.split([1, 9, 90, 200], 1):
        running.add(part)
    found = running.estimate()
    w = weights.double()
    assert torch.allclose(found.log_likelihood, w.logsumexp(1) - math.log(300))
    share = torch.softmax(w, 1)
    assert torch.allclose(found.ess, 1 / share.square().sum(1))
    relative = (w - w.amax(1, True)).exp()
    error = relative.std(1) / math.sqrt(300) / relative.mean(1)
    assert torch.allclose(found.std_error, error)


def test_equal_weights_have_no_error_and_all_samples_count():
    running = measure.RunningLogMeanExp(2)
    running.add(torch.full((2, 10), -100.0))
    found = running.estimate()
    assert found.log_likelihood.tolist() == [-100, -100]
    assert found.std_error.tolist() == [0, 0]
    assert found.ess.tolist() == pytest.approx([10, 10])


def test_one_sample_has_no_known_error():
    running = measure.RunningLogMeanExp(1)
    running.add(torch.zeros(1, 1))
    assert running.estimate().std_error.isnan().all()


def test_an_image_does_not_depend_on_those_after_it(model, images, monkeypatch):
    monkeypatch.setattr(bounds, "ELBO_BATCH", 20)
    many = measure.iw_log_likelihood(model, images, 10, seed=3)[0]
    some = measure.iw_log_likelihood(model, images[:40], 10, seed=3)[0]
    assert np.array_equal(many[:40], some)
    assert not np.array_equal(many, measure.iw_log_likelihood(model, images, 10, seed=4)[0])
    # chunks have chance of their own: equal images in two chunks are estimated apart
    twice = images.take(np.concatenate([np.arange(20), np.arange(20)]))
    found = measure.iw_log_likelihood(model, twice, 10, seed=3)[0]
    assert not np.allclose(found[:20], found[20:])


def test_memory_does_not_grow_with_samples(model, images, monkeypatch):
    seen = []
    monkeypatch.setattr(measure, "CPU_TILE_VALUES", DIMS * 200)
    own = model.log_weights
    monkeypatch.setattr(
        model, "log_weights", lambda x, y, k, g=None: (seen.append(len(x) * k), own(x, y, k, g))[1]
    )
    found, _, effective = measure.iw_log_likelihood(model, images, 1_000)
    assert max(seen) <= 200
    assert sum(seen) == 60 * 1_000
    assert np.isfinite(found).all()
    assert (effective > 1).all()


def test_a_models_own_faster_way_is_used_where_it_applies(model, images, monkeypatch):
    given = ImportanceEstimate(*(torch.full((60,), v, dtype=torch.float64) for v in (7, 0.1, 3)))
    own = LinearGaussian()
    own.importance_log_likelihood = lambda x, labels, samples, generator=None: given
    assert (measure.iw_log_likelihood(own, images, 10)[0] == 7).all()
    own.importance_log_likelihood = lambda x, labels, samples, generator=None: None
    found = measure.iw_log_likelihood(own, images, 10)[0]
    assert np.array_equal(found, measure.iw_log_likelihood(model, images, 10)[0])


def test_how_many_images_are_affordable(model, images, monkeypatch):
    assert measure.default_num_images(model, images, 5_000) == 60  # tiny: all
    monkeypatch.setattr(measure, "MAX_DEFAULT_FLOPS", 1.0)
    assert measure.default_num_images(model, images, 5_000) == 20  # huge: never fewer
    assert len(measure.select_images(model, images, 5_000, 7)) == 7


def test_a_loose_bound_is_told():
    assert not list(measure.ess_warnings({"effective_samples": 400.0}, 5_000))
    (line,) = measure.ess_warnings({"effective_samples": 2.0}, 5_000)
    assert "loose" in line
