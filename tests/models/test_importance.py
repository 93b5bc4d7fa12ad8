"""The fast importance weights of a Bernoulli MLP against the plain ones and quadrature."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pinxit.data.batch import DatasetInfo
from pinxit.evaluation.importance import estimate_from_weights
from pinxit.models.likelihood_protocols import FastImportanceSampling
from pinxit.models.vae import build
from pinxit.models.vae.config import Config
from pinxit.models.vae.importance import (
    MIN_SAMPLES,
    ImportanceWeights,
    supports_fast_importance,
)
from pinxit.models.vae.inference import log_weights
from tests.builders import blobs

TINY = {"latent_dim": 3, "width": 16, "depth": 1, "network": "mlp", "likelihood": "bernoulli"}


def tiny(size: tuple[int, int] = (8, 8), channels: int = 1, gain: float = 1.0, **options):
    """A model with large weights: freshly initialised ones would give logits near 0."""
    torch.manual_seed(0)
    info = DatasetInfo(96, *size, channels, label_names=("a", "b", "c", "d"))
    model = build(Config(**{**TINY, "binarize": "static", **options}), info).eval()
    for name, parameter in model.named_parameters():
        if not name.startswith("prior") and parameter.ndim:
            torch.nn.init.normal_(parameter, std=gain / math.sqrt(parameter[0].numel()))
        elif parameter.ndim:
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def black_and_white(model, n: int = 5):
    generator = torch.Generator().manual_seed(1)
    shape = (n, model.info.channels, model.info.height, model.info.width)
    return (torch.rand(shape, generator=generator) < 0.3).float()


def weights_of(model, x, labels, noise, uniforms, share):
    posterior = model.posterior(x, labels)
    parts = (x, labels, posterior, model.decoder, model.prior, model.likelihood)
    weights = ImportanceWeights(*parts, noise.shape[1])
    return torch.stack([weights(i, noise[i], uniforms[i], share) for i in range(len(x))])


@pytest.mark.parametrize("share", [0.0, 0.4])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"prior": "flow", "gain": 0.5},
        {"condition": "label"},
        {"size": (28, 28), "latent_dim": 50, "width": 200},
        {"size": (9, 13), "channels": 3},  # 351 dimensions: products of 88 factors, one padded
        {"gain": 8.0},  # logits far beyond where a softplus is linear
        {"decoder_head": "linear", "prior": "flow", "gain": 0.5},
        {"decoder_head": "linear", "size": (9, 13), "channels": 3},
        {"decoder_head": "linear", "gain": 8.0},
    ],
    ids=["standard", "flow", "labels", "mnist", "odd", "extreme", "head", "color", "large head"],
)
@torch.no_grad()
def test_fast_weights_equal_plain_weights_for_the_same_noise(options, share):
    model = tiny(**options)
    x = black_and_white(model)
    labels = torch.tensor([0, 1, 2, 3, -1]) if model.config.condition == "label" else None
    noise = torch.randn(5, 70, model.latent_dim)
    uniforms = torch.rand(5, 70)
    wide = noise.double(), uniforms.double(), share
    slow = log_weights(model.double(), x.double(), labels, *wide)
    fast = weights_of(model.float(), x, labels, noise, uniforms, share)
    assert slow.std() > 0.1
    tolerance = 1e-6 * slow.abs().max().item()
    assert torch.allclose(fast.double(), slow, rtol=0, atol=max(1e-3, tolerance))


def log_p_by_quadrature(model, x) -> torch.Tensor:
    """log p(x) by the trapezoid rule over two latents."""
    axis = torch.linspace(-7, 7, 561)
    z = torch.cartesian_prod(axis, axis)
    log_joint = model.prior.log_prob(z) + model.likelihood.log_prob(model.decode_params(z), x)
    return log_joint.double().logsumexp(0) + 2 * math.log(axis[1] - axis[0])


@torch.no_grad()
def test_estimate_matches_the_integral_within_its_standard_error():
    model = tiny(latent_dim=2, gain=0.4)  # q(z|x) is close enough to p(z|x)
    x = black_and_white(model)
    estimate = estimate_from_weights(model.importance_log_weights(x, None, 4000, range(5)))
    expected = torch.stack([log_p_by_quadrature(model, image) for image in x])
    assert (estimate.std_error < 0.1).all()
    assert ((estimate.log_likelihood - expected).abs() < 5 * estimate.std_error + 1e-3).all()
    assert ((estimate.ess > 1) & (estimate.ess <= 4000)).all()


@torch.no_grad()
def test_weights_depend_on_the_seeds_and_not_on_threads():
    model = tiny()
    x = black_and_white(model, 7)

    def log_likelihood(threads: int) -> torch.Tensor:
        torch.set_num_threads(threads)
        try:
            weights = model.importance_log_weights(x, None, 2500, range(5, 12), 0.1)
            assert torch.get_num_threads() == threads
        finally:
            torch.set_num_threads(1)
        return estimate_from_weights(weights).log_likelihood

    single, threaded = log_likelihood(1), log_likelihood(3)
    assert torch.allclose(single, threaded, rtol=0, atol=1e-4)
    assert single.unique().numel() == 7


def test_fast_estimate_is_none_where_it_does_not_apply():
    x = black_and_white(tiny())
    assert isinstance(tiny(), FastImportanceSampling)
    assert tiny().importance_log_weights(x, None, MIN_SAMPLES - 1, range(5)) is None
    for options in ({"network": "conv"}, {"likelihood": "gaussian"}, {"network": "linear"}):
        model = tiny(**{**options, "binarize": "auto"})
        assert not supports_fast_importance(model.decoder, model.likelihood, 100)
        assert model.importance_log_weights(x, None, 100, range(5)) is None


@torch.no_grad()
def test_bound_rises_with_the_number_of_samples():
    """IW-k grows with k (Burda 2015, theorem 1), starting at the ELBO."""
    model, images = tiny(), blobs(40)
    x = model.observe(images.batch(np.arange(40)))
    seeds = range(40)
    elbo = model.elbo(x, None, seeds)
    bounds = [-(elbo.distortion + elbo.rate.sum(1)).mean().item()]
    for samples in (MIN_SAMPLES, 64 * MIN_SAMPLES):
        estimate = estimate_from_weights(model.importance_log_weights(x, None, samples, seeds))
        bounds.append(estimate.log_likelihood.mean().item())
    assert bounds[0] < bounds[1] < bounds[2]
