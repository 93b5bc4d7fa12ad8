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
from pinxit.data.images import Images
from pinxit.evaluation import likelihood
from pinxit.evaluation import log_weights as drawing
from pinxit.evaluation.log_weights import IWLogLikelihood, iw_log_likelihood
from pinxit.evaluation.metrics import get_metric
from pinxit.models import build_model, igpt
from pinxit.models.results import Elbo
from pinxit.nn.rng import per_image_normal
from pinxit.sampling.elbo import elbo_terms
from pinxit.sampling.scores import score_rows
from tests.builders import blobs, build_vae

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
    metrics = dict(likelihood.elbo_metrics(model, terms, images))
    value = {name: estimate.value for name, estimate in metrics.items()}
    assert value["elbo"] == pytest.approx(-value["distortion"] - value["rate"])
    assert value["elbo_bits_per_dim"] == pytest.approx(-value["elbo"] / (DIMS * math.log(2)))
    assert metrics["elbo"].error == pytest.approx(terms.elbo.std(ddof=1) / math.sqrt(60))


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
    monkeypatch.setattr(drawing, "CPU_TILE_VALUES", DIMS * 200)
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
    assert drawing.default_num_images(model, images, 5_000) == 60  # cheap: all
    monkeypatch.setattr(drawing, "MAX_DEFAULT_FLOPS", 1.0)
    assert drawing.default_num_images(model, images, 5_000) == 20  # the minimum
    assert len(drawing.select_images(model, images, 5_000, 7)) == 7


def estimate_of(log_p, half, pareto_k=0.3, error=0.05, n=50) -> IWLogLikelihood:
    columns = (log_p, half, half, error, 100.0, pareto_k)
    return IWLogLikelihood(*(np.broadcast_to(column, n).astype(float) for column in columns))


def test_heavy_tails_of_the_weights_and_a_rising_estimate_give_warnings():
    def warnings(*args, k=5_000, **options):
        return list(likelihood.iw_warnings(estimate_of(*args, **options), k))

    assert not warnings(-90.0, -90.01)
    (heavy,) = warnings(-90.0, -90.0, pareto_k=np.where(np.arange(50) < 4, 0.9, 0.2))
    assert "8%" in heavy
    assert "Pareto k" in heavy
    (rising,) = warnings(-90.0, -90.3)
    assert "0.3 nats from 2,500 to 5,000 samples" in rising
    assert not warnings(-90.0, -90.3, k=64)  # a loose bound is meant to be loose


def test_importance_weighted_metrics_have_errors_and_show_the_gain(model, images):
    estimate = iw_log_likelihood(model, images, 400)
    metrics = dict(likelihood.iw_metrics(model, estimate, images))
    full, half = metrics["log_likelihood"], metrics["log_likelihood_half"]
    assert metrics["log_likelihood_quarter"].value == pytest.approx(estimate.quarter.mean())
    assert metrics["iw_gain"].value == pytest.approx(full.value - half.value)
    assert metrics["iw_gain"].error < full.error  # paired
    elbo = estimate.log_likelihood - np.linspace(1, 3, 60)
    gap = dict(likelihood.iw_metrics(model, estimate, images, elbo))["bound_gap"]
    assert "bound_gap" not in metrics
    assert gap.value == pytest.approx(2)
    assert gap.error == pytest.approx(np.linspace(1, 3, 60).std(ddof=1) / 60**0.5)  # paired
    assert metrics["effective_samples"].value == pytest.approx(np.quantile(estimate.ess, 0.05))
    assert 0 <= metrics["pareto_k_share"].value <= 1
    assert all(np.isfinite(value.error) and value.error > 0 for value in metrics.values())
    protocol = likelihood.iw_protocol(estimate, 400, 0.1)
    expected = math.sqrt(np.square(estimate.std_error).sum()) / 60
    assert protocol["sampling_error"] == pytest.approx(expected)


def test_estimates_of_half_and_a_quarter_are_those_of_the_first_samples(model, images):
    estimate = iw_log_likelihood(model, images, 400)
    half = iw_log_likelihood(model, images, 200)
    assert np.allclose(estimate.half, half.log_likelihood, atol=1e-4)
    assert np.allclose(estimate.quarter, half.half, atol=1e-4)


# -- given the label, and averaged over labels ---------------------------------------------------


def log_p_given(model, images, label, **options):
    given = dataclasses.replace(images, labels=np.full(len(images), label, np.int64))
    return iw_log_likelihood(model, given, 4_000, **options)


def test_averaging_over_labels_equals_the_sum_over_labels():
    model = build_vae(condition="label", likelihood="bernoulli").eval()
    images = blobs(12)
    probs = np.array([0.5, 0.3, 0.2, 0.0])
    average = iw_log_likelihood(model, images, 4_000, label_probs=probs, defensive_share=0.5)
    given = [log_p_given(model, images, y, defensive_share=0.5) for y in range(3)]
    terms = [each.log_likelihood + np.log(p) for each, p in zip(given, probs, strict=False)]
    expected = np.logaddexp.reduce(terms)
    error = np.hypot(average.std_error, np.max([each.std_error for each in given], 0))
    assert np.all(np.abs(average.log_likelihood - expected) < 4 * error)
    assert error.max() < 0.2
    other_labels = dataclasses.replace(images, labels=images.labels[::-1].copy())
    again = iw_log_likelihood(model, other_labels, 4_000, label_probs=probs, defensive_share=0.5)
    assert np.allclose(again.log_likelihood, average.log_likelihood)


def test_a_likelihood_given_the_label_is_named_so():
    model, images = build_vae(condition="label").eval(), blobs(20)
    estimate = iw_log_likelihood(model, images, 20)
    names = [name for name, _ in likelihood.iw_metrics(model, estimate, images)]
    assert "log_likelihood:label" in names
    assert "log_likelihood_bits_per_dim:label" in names
    assert "log_likelihood" not in names
    (elbo, *_) = likelihood.elbo_metrics(model, elbo_terms(model, images), images)
    assert elbo[0] == "elbo:label"
    assert get_metric("elbo:label").title == "ELBO (given the label)"
    assert likelihood.describe_likelihood(model).startswith("log p(x | label)")
    averaged = dict(likelihood.iw_metrics(model, estimate, images, averaged=True))
    assert list(averaged) == ["log_likelihood", "log_likelihood_bits_per_dim"]
    unconditional = build_vae().eval()
    assert "label" not in likelihood.describe_likelihood(unconditional)
    assert likelihood.name_given_label(unconditional, "elbo") == "elbo"


def test_label_frequencies_are_those_of_training():
    model, images = build_vae(condition="label"), blobs(40)
    labels = np.where(np.arange(40) < 4, -1, np.minimum(np.arange(40) // 12, 2))
    train = dataclasses.replace(images, labels=labels)
    probs = likelihood.label_frequencies(model, train)
    assert probs.tolist() == pytest.approx([8 / 36, 12 / 36, 16 / 36, 0])
    assert likelihood.label_frequencies(build_vae(), train) is None


def test_exact_likelihoods_are_averaged_over_labels():
    class Scorer:
        """log p(x | y) = -(y + 1) * mean grey level."""

        eight_bit, label_conditional, likelihood_description = True, True, "exact"

        def __init__(self, images):
            self.info = images.info()

        def score(self, images, *, samples=1, seed=0):
            return -(images.labels + 1.0) * images.pixels.mean((1, 2, 3)) / 64

    images = blobs(20)
    model, probs = Scorer(images), np.array([0.25, 0.25, 0.5, 0.0])
    metrics = dict(likelihood.score_metrics(model, images, 0, probs))
    grey = images.pixels.mean((1, 2, 3)) / 64
    terms = [np.log(p) - (y + 1) * grey for y, p in enumerate(probs[:3])]
    expected = np.logaddexp.reduce(np.array(terms)).mean()
    assert metrics["log_likelihood"].value == pytest.approx(expected)
    assert metrics["log_likelihood:label"].value == pytest.approx(model.score(images).mean())


# -- palettes that do not hold the test images -----------------------------------------------------


def test_images_that_a_palette_alters_are_counted_and_have_no_bits_per_dimension():
    levels = np.array([0, 128, 255], np.uint8)
    train = Images(levels[np.random.default_rng(0).integers(0, 3, (40, 4, 4, 1))])
    config = igpt.Config(width=16, depth=1, heads=2, palette="levels", patch_size=1)
    model = build_model(config, train, np.arange(40))[0].eval()
    test = train.pixels[:4].copy()
    test[1, 0, 0], test[3, 2, 2] = 60, 200
    images = Images(test)
    is_held = likelihood.images_held_exactly(model, images)
    assert is_held.tolist() == [True, False, True, False]
    metrics = dict(likelihood.score_metrics(model, images, is_held=is_held))
    assert set(metrics) == {"log_likelihood", "palette_loss_share"}
    assert metrics["palette_loss_share"].value == 0.5
    assert "2 of 4 images" in likelihood.loss_warning(is_held)
    held = images[[0, 2]]
    metrics = dict(
        likelihood.score_metrics(model, held, is_held=likelihood.images_held_exactly(model, held))
    )
    assert "log_likelihood_bits_per_dim" in metrics
    assert metrics["palette_loss_share"].value == 0
    rows = list(score_rows(model, images, model.score(images)))
    assert {row["name"]: row["bits_per_dim"] is None for row in rows} == {
        "0": False,
        "1": True,
        "2": False,
        "3": True,
    }
    assert likelihood.images_held_exactly(build_vae(), images) is None
