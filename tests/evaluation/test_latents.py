"""Active units and warnings of posterior collapse."""

from __future__ import annotations

import numpy as np

from pinxit.data.images import Images
from pinxit.evaluation.latents import collapse_warnings, latent_metrics
from pinxit.sampling.latents import LatentActivity
from tests.builders import noise_images, values_of


def test_active_units_are_latents_whose_posterior_mean_varies():
    activity = LatentActivity(np.array([0.5, 0.02, 0.009, 0.0]), np.array([2.0, 0.1, 0.01, 0.0]))
    metrics = values_of(latent_metrics(activity))
    assert (metrics["latents"], metrics["active_units"]) == (4, 2)
    assert not list(collapse_warnings(activity))


def test_posterior_collapse_gives_a_warning():
    inactive = LatentActivity(np.full(3, 1e-4), np.full(3, 1e-3))
    (warning,) = collapse_warnings(inactive)
    assert "none of the 3 latents" in warning
    assert "posterior collapse" in warning
    assert "--beta" in warning
    low_kl = LatentActivity(np.array([0.02, 0.0]), np.array([0.01, 0.0]))
    assert "0.01 nats" in next(collapse_warnings(low_kl))
    active = LatentActivity(np.ones(3), np.ones(3))
    images = noise_images()
    constant = Images(np.repeat(images.pixels[:1], 50, 0))
    assert "hardly depend" in next(collapse_warnings(active, images, constant))
    assert not list(collapse_warnings(active, images, images))


def test_undertrained_run_is_not_advised_to_change_beta():
    inactive = LatentActivity(np.full(3, 1e-4), np.full(3, 1e-3))
    (warning,) = collapse_warnings(inactive, undertrained=True)
    assert "none of the 3 latents" in warning
    assert "collapse" not in warning
    assert "--beta" not in warning
