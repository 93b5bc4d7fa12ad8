"""Active units and warnings of posterior collapse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinxit.data.images import Images
from pinxit.evaluation.latents import (
    MIN_VARIANCE_RATIO,
    collapse_warnings,
    latent_metrics,
    pixel_variance,
    share_of_matched_pairs,
)
from pinxit.sampling.latents import LatentActivity
from pinxit.training.verdict import COLLAPSE_SIGNS
from tests.builders import blobs, noise_images


def activity_of(variance, rate, n: int = 50) -> LatentActivity:
    """Latents of these variances and KL, from n images."""
    normal = np.random.default_rng(0).normal(size=(n, len(variance)))
    mean = (normal - normal.mean(0)) / normal.std(0) * np.sqrt(variance)
    image_rate = None if rate is None else np.array(rate) + normal - normal.mean(0)
    return LatentActivity(mean, image_rate, float(np.sum(rate or 9)))


def test_active_units_are_latents_whose_posterior_mean_varies():
    activity = activity_of([0.5, 0.02, 0.009, 0.0], [2.0, 0.1, 0.01, 0.0])
    metrics = dict(latent_metrics(activity, blobs(50)))
    assert (metrics["latents"].value, metrics["active_units"].value) == (4, 2)
    assert 0 < metrics["active_units"].error < 1
    assert metrics["kl_per_latent"].values == pytest.approx([2.0, 0.1, 0.01, 0.0])
    assert metrics["kl_per_latent"].errors == pytest.approx([50**-0.5] * 4, rel=0.3)
    # of the variance of a normal variable: sqrt(2 / n) of it
    errors = metrics["posterior_mean_variance"].errors / activity.variance.clip(1e-9)
    assert errors[:3] == pytest.approx([(2 / 50) ** 0.5] * 3, rel=0.5)
    assert not list(collapse_warnings(activity))


def test_no_kl_per_latent_is_yielded_for_a_learned_prior():
    metrics = dict(latent_metrics(activity_of([0.5, 0.02], None), blobs(50)))
    assert set(metrics) == {"latents", "active_units", "posterior_mean_variance"}


def test_posterior_collapse_gives_a_warning():
    inactive = activity_of([1e-4] * 3, [1e-3] * 3)
    (warning,) = collapse_warnings(inactive)
    assert "none of the 3 latents" in warning
    assert "posterior collapse" in warning
    assert "--beta" in warning
    low_kl = activity_of([0.02, 0.0], [0.01, 0.0])
    assert "0.01 nats" in next(collapse_warnings(low_kl))
    active = activity_of([1.0] * 3, [1.0] * 3)
    images = noise_images()
    constant = Images(np.repeat(images.pixels[:1], 50, 0))
    assert "hardly depend" in next(collapse_warnings(active, images, constant))
    assert not list(collapse_warnings(active, images, images))


@given(seed=st.integers(0, 1000), contrast=st.floats(0.05, 1.0))
@settings(max_examples=25, deadline=None)
def test_reconstructions_that_vary_but_not_with_the_image_give_a_warning(seed, contrast):
    """As samples of an autoregressive head do where z is not used."""
    rng = np.random.default_rng(seed)
    active = activity_of([1.0] * 3, [1.0] * 3)
    x, noise = rng.normal(128, 30, (2, 200, 8, 8, 1))
    images, independent = (Images(a.clip(0, 255).astype(np.uint8)) for a in (x, noise))
    (warning,) = collapse_warnings(active, images, independent)
    assert "hardly depend" in warning
    assert warning.startswith(COLLAPSE_SIGNS)
    assert share_of_matched_pairs(images, independent) == pytest.approx(0.5, abs=0.2)
    soft = Images((128 + contrast * (x - 128)).clip(0, 255).astype(np.uint8))
    mixed = Images((128 + 0.5 * (x - 128) + 0.5 * (noise - 128)).clip(0, 255).astype(np.uint8))
    for dependent in (soft, mixed):
        if pixel_variance(dependent) > MIN_VARIANCE_RATIO * pixel_variance(images):
            assert not list(collapse_warnings(active, images, dependent))


def test_undertrained_run_is_not_advised_to_change_beta():
    inactive = activity_of([1e-4] * 3, [1e-3] * 3)
    (warning,) = collapse_warnings(inactive, undertrained=True)
    assert "none of the 3 latents" in warning
    assert "collapse" not in warning
    assert "--beta" not in warning
