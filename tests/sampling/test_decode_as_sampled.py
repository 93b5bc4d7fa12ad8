"""Latents of any origin are decoded as a model's own samples are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pinxit.models import build_model
from pinxit.models.vae import Config
from pinxit.nn.rng import per_image_normal, per_image_seeds
from pinxit.sampling.fitted_priors import sample_from_density
from pinxit.sampling.observation import comparable_images, samples_pixels
from tests.builders import blobs

OPTIONS = {
    "independent": {"likelihood": "bernoulli"},
    "linear": {"likelihood": "bernoulli", "decoder_head": "linear"},
    "autoregressive": {"likelihood": "discretized-logistic", "decoder_head": "autoregressive"},
}


def build(name):
    torch.manual_seed(0)
    config = Config(latent_dim=4, width=16, depth=1, network="mlp", **OPTIONS[name])
    return build_model(config, blobs(), np.arange(48))[0].eval()


class OwnPrior:
    """The noise of a model's own samples, as a density."""

    def __init__(self, model):
        self.model = model

    def sample(self, n, seed, start=0, temperature=1.0):
        seeds = per_image_seeds(seed, n, start)
        noise = per_image_normal(n, (self.model.latent_dim,), seeds)
        return self.model.from_noise(temperature * noise.numpy())


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("temperature", [1.0, 0.5, 0.0])
def test_a_density_equal_to_the_prior_gives_the_samples_of_the_model(name, temperature):
    model = build(name)
    own = model.sample(5, seed=3, start=2, temperature=temperature)
    other = sample_from_density(model, OwnPrior(model), 5, 3, start=2, temperature=temperature)
    assert np.array_equal(own.pixels, other.pixels)


@pytest.mark.parametrize("name", OPTIONS)
def test_samples_are_compared_with_images_of_their_kind(name):
    model, images = build(name), blobs()
    shown = comparable_images(model, images, model.sample(8))
    assert samples_pixels(model) == (name != "independent")
    assert (set(np.unique(shown.pixels)) <= {0, 255}) == (name == "linear")
