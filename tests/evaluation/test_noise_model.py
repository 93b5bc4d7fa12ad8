"""What variances cost: against closed forms, and against the distortions of a model."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pinxit.evaluation.noise_model import (
    LEVELS,
    calibration_ratio,
    frequency_ratio,
    measure_noise_model,
    noise_variance,
    single_sigma,
)
from pinxit.sampling.elbo import elbo_terms
from tests.builders import blobs, build_vae

GENERATOR = torch.Generator()


def white_errors(n: int, sigma: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (LEVELS * sigma * rng.standard_normal((n, 8, 8, 1))).astype(np.float32)


def test_white_noise_of_the_stated_variance_costs_its_entropy():
    errors, held_out = white_errors(800, 0.1), white_errors(800, 0.1, 1)
    noise = measure_noise_model(errors, held_out, 0.1)
    exact = 64 * (0.5 * (1 + math.log(2 * math.pi)) + math.log(0.1 * LEVELS))
    assert abs(noise.own.value - exact) < 4 * noise.own.error
    assert noise.best_sigma == pytest.approx(0.1, rel=0.02)
    assert abs(noise.wrong_sigma.value) < 0.1
    assert noise.white.value < 0.1  # no frequency has more power, so that it can only lose
    assert noise.one_sigma.value < 0.1


@settings(max_examples=15, deadline=None)
@given(st.floats(0.02, 0.5), st.floats(0.02, 0.5))
def test_a_wrong_sigma_costs_the_divergence_of_the_gaussians(true, stated):
    noise = measure_noise_model(white_errors(400, true), white_errors(400, true, 1), stated)
    exact = 64 * (0.5 * (true / stated) ** 2 - 0.5 - math.log(true / stated))
    assert noise.wrong_sigma.value == pytest.approx(exact, abs=0.3 + 0.05 * exact)
    assert noise.fixed.value > noise.best.value
    assert noise.beta_of_sigma_one == pytest.approx(stated**2)


def test_smooth_errors_gain_from_a_variance_for_each_frequency():
    rng = np.random.default_rng(0)
    coarse = 20 * rng.standard_normal((600, 2, 2, 1)).astype(np.float32)
    smooth = coarse.repeat(4, 1).repeat(4, 2) + white_errors(600, 0.01)
    noise = measure_noise_model(smooth[:300], smooth[300:], 0.1)
    assert noise.white.value > 20
    assert noise.white.value > 10 * abs(noise.one_sigma.value)
    frequencies, ratio = frequency_ratio(smooth, float(np.square(smooth).mean()))
    assert ratio[0] > 3 * ratio[-1]
    assert len(frequencies) == len(ratio) == 4


def test_errors_in_few_pixels_gain_from_a_variance_for_each_pixel():
    errors = white_errors(600, 0.1)
    errors[:, :, :4] /= 20
    noise = measure_noise_model(errors[:300], errors[300:], 0.1)
    assert noise.one_sigma.value > 20


def test_own_distortion_is_that_of_the_elbo():
    """The same posterior and the same means give the distortion of the model."""
    model, images = build_vae(likelihood="gaussian", sigma=0.2), blobs()
    distortion = elbo_terms(model, images).distortion.mean()
    posterior = model.encode(images)
    eps = np.random.default_rng(3).standard_normal(posterior.mean.shape)
    means = model.decode_means((posterior.mean + posterior.std * eps).astype(np.float32))
    errors = images.pixels.astype(np.float32) - means
    noise = measure_noise_model(errors, errors, 0.2)
    assert noise.own.value == pytest.approx(distortion, abs=4 * noise.own.error)


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian", "discretized-logistic"])
def test_the_stated_variance_is_that_of_sampled_pixels(likelihood):
    model = build_vae(likelihood=likelihood)
    z = np.random.default_rng(0).standard_normal((6, 5)).astype(np.float32)
    decoded = model.decode(z)
    stated = noise_variance(model, z, decoded)
    assert stated is not None
    assert stated.shape == decoded.pixels.shape
    draws = [model.sample_pixels(z, seed=i).pixels.astype(float) for i in range(40)]
    sampled = np.mean([np.square(draw - decoded.pixels) for draw in draws])
    clipped = 0.4 if likelihood == "gaussian" else 0.85  # a Gaussian is cut at black and white
    assert clipped < sampled / stated.mean() < 1.15
    assert not np.array_equal(draws[0], draws[1])
    assert np.array_equal(model.sample_pixels(z, seed=3).pixels, draws[3])
    assert np.array_equal(model.sample_pixels(z[:2], seed=3).pixels, draws[3][:2])


@pytest.mark.parametrize(
    "options",
    [
        {"likelihood": "bernoulli"},
        {"likelihood": "bernoulli", "decoder_head": "linear"},
        {"likelihood": "bernoulli", "decoder_head": "autoregressive"},
    ],
    ids=["independent", "linear", "autoregressive"],
)
def test_images_of_the_model_are_calibrated(options):
    """Its own pixels, given those before them, differ by more from their means than p (1 - p)."""
    model = build_vae(**options)
    GENERATOR.manual_seed(0)
    with torch.no_grad():
        for parameter in model.likelihood.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=GENERATOR)
    z = np.random.default_rng(0).standard_normal((400, 5)).astype(np.float32)
    errors = model.sample_pixels(z, seed=99).pixels - model.decode_means(z)
    stated = noise_variance(model, z, model.decode(z))
    assert stated is not None
    assert np.square(errors).mean() > 1e3, "pixels that z leaves open"
    ratio = calibration_ratio(errors, stated)
    assert abs(ratio.value - 1) < 0.02 + 4 * ratio.error


def test_each_pixel_states_the_variance_of_its_own_sigma():
    model = build_vae(likelihood="gaussian", variance="per-pixel")
    z = np.random.default_rng(0).standard_normal((6, 5)).astype(np.float32)
    with torch.no_grad():
        model.likelihood.running_variance.copy_(
            0.1 * torch.rand(model.likelihood.running_variance.shape, generator=GENERATOR)
        )
    sigma = model.decoder_sigma_per_pixel
    assert sigma.shape == (8, 8, 1)
    stated = noise_variance(model, z, model.decode(z))
    assert stated == pytest.approx(np.broadcast_to((LEVELS * sigma) ** 2, stated.shape), rel=1e-5)
    assert single_sigma(model) is None
    assert single_sigma(build_vae(likelihood="gaussian", sigma=0.2)) == pytest.approx(0.2)


def test_calibration_is_one_for_errors_of_the_stated_variance():
    errors = white_errors(300, 0.1)
    ratio = calibration_ratio(errors, np.full(errors.shape, (0.1 * LEVELS) ** 2))
    assert abs(ratio.value - 1) < 4 * ratio.error
    twice = calibration_ratio(2 * errors, np.full(errors.shape, (0.1 * LEVELS) ** 2))
    assert twice.value == pytest.approx(4 * ratio.value, rel=1e-3)
