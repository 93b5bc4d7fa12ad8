"""A run with a ladder of latents, in everything that is made from a run."""

from __future__ import annotations

import math

import numpy as np
import pytest

import pinxit
from pinxit.cli import main
from pinxit.errors import PinxitError, UsageError
from pinxit.evaluation.latents import collapse_warnings, latent_metrics
from pinxit.models import build_model
from pinxit.models.generation import GenerationParams
from pinxit.models.levels import has_gaussian_posterior, level_shapes
from pinxit.nn.rng import per_image_normal
from pinxit.reports import report
from pinxit.sampling.elbo import elbo_terms
from pinxit.sampling.fitted_priors import sample_fitted
from pinxit.sampling.latents import interpolate_seeds, latent_activity, traverse
from pinxit.sampling.levels import keep_levels, reconstruct_from_levels
from pinxit.training.posterior_snapshots import has_snapshots
from tests.builders import blobs, make_run

LADDER = {"latents": "ladder", "network": "conv", "latent_dim": 4, "width": 8}


@pytest.fixture(scope="module")
def images():
    return blobs(96, 16, 16)


@pytest.fixture(scope="module")
def run(images, tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs") / "ladder", images, steps=5, **LADDER)


@pytest.fixture(scope="module")
def model(run):
    return run.load()


def test_all_levels_reconstruct_as_the_model_does_and_the_others_differ(model, images):
    images = images[:6]
    shapes = level_shapes(model)
    assert shapes == ((4, 1, 1), (4, 4, 4), (4, 8, 8))
    decoded = [reconstruct_from_levels(model, images, k).pixels for k in (1, 2, 3)]
    assert np.array_equal(decoded[2], model.reconstruct(images).pixels)
    assert not np.array_equal(decoded[0], decoded[1])
    z = model.encode(images).mean
    assert (keep_levels(model, z, 1)[:, 4:] == 0).all()
    assert (keep_levels(model, z, 1)[:, :4] == z[:, :4]).all()


@pytest.mark.parametrize("levels", [0, 4])
def test_levels_beyond_the_models_are_refused(model, images, levels):
    with pytest.raises(UsageError, match=f"3 levels of latents, not {levels}"):
        reconstruct_from_levels(model, images[:2], levels)


def test_levels_of_a_vector_are_refused(images):
    plain = build_model(pinxit.VAE(latent_dim=4, width=8), images, np.arange(48))[0]
    with pytest.raises(UsageError, match="--latents ladder; this model has none"):
        reconstruct_from_levels(plain, images[:2], 1)
    assert has_gaussian_posterior(plain)


def test_commands_reconstruct_from_levels(run, model, images, tmp_path, capsys):
    loaded = pinxit.Run(run.path)
    shown = loaded.reconstruct(images[:3], levels=1)
    assert np.array_equal(shown.before, images[:3].pixels)
    expected = reconstruct_from_levels(model, images[:3], 1)
    assert np.array_equal(shown.pixels, expected.pixels)
    images[:3].save(tmp_path / "deep" / "images.npy")
    words = ["reconstruct", run.path, tmp_path / "deep" / "images.npy", "--levels", "2", "--quiet"]
    assert main([str(word) for word in words]) in (None, 0)
    assert capsys.readouterr().out.splitlines()[-1].endswith("-levels2.png")


def test_the_kl_of_channels_and_of_levels_add_up_to_the_rate(model, images):
    images = images[:20]
    terms = elbo_terms(model, images)
    activity = latent_activity(model, images, terms=terms)
    assert activity.unit == "channel"
    assert activity.image_rate.shape == (20, 12)
    assert activity.variance.shape == (12,)
    total = terms.rate.sum(1)
    assert np.allclose(activity.image_rate.sum(1), total, rtol=1e-4)
    assert np.allclose(activity.level_rate.sum(1), total, rtol=1e-4)
    starts = np.cumsum([0, *map(math.prod, level_shapes(model))])
    for level in range(3):
        of_level = terms.rate[:, starts[level] : starts[level + 1]].sum(1)
        assert np.allclose(activity.level_rate[:, level], of_level, rtol=1e-4)
    metrics = dict(latent_metrics(activity, images))
    assert metrics["levels"].value == 3
    assert metrics["kl_per_level"].values == pytest.approx(activity.level_rate.mean(0), rel=1e-4)


def test_a_level_that_is_not_used_is_warned_of(model, images):
    activity = latent_activity(model, images[:20])
    assert activity.active.any()
    rate = activity.image_rate.copy()
    rate[:, 4:8] = 0.001
    rate[:, 0] = 5.0
    warnings = list(collapse_warnings(activity._replace(image_rate=rate)))
    assert "level 2 of 3 has a KL of only 0.004 nats" in warnings


def test_a_traversal_moves_all_positions_of_a_channel(model, images):
    result = traverse(model, images[:20], 12, steps=3)
    assert result.unit == "channel"
    assert sorted(result.latents) == list(range(12))
    pixels = result.images.pixels.reshape(12, 3, -1)
    moved = [(row[0] != row[2]).any() for row in pixels.astype(int)]
    assert sum(moved) >= 6


def test_interpolation_ends_at_the_samples_of_its_seeds(model):
    frames = interpolate_seeds(model, (3, 4), 5).pixels
    assert np.array_equal(frames[0], model.sample(1, seed=3).pixels[0])
    assert np.array_equal(frames[-1], model.sample(1, seed=4).pixels[0])


def test_a_temperature_of_zero_gives_one_image(model):
    pixels = model.sample(3, temperature=0).pixels
    assert (pixels == pixels[0]).all()
    assert not np.array_equal(model.sample(3).pixels, pixels)


def test_each_level_has_its_temperature(model):
    cold = model.sample(4, level_temperatures=(0, 0, 0))
    assert np.array_equal(cold.pixels, model.sample(4, temperature=0).pixels)
    same = model.sample(4, level_temperatures=(0.7, 0.7, 0.7))
    assert np.array_equal(same.pixels, model.sample(4, temperature=0.7).pixels)
    coarse = model.sample(4, level_temperatures=(1, 0, 0)).pixels
    assert not np.array_equal(coarse, model.sample(4).pixels)
    z = model.from_noise(per_image_normal(4, (model.latent_dim,), 0).numpy())
    assert np.array_equal(coarse, model.decode(keep_levels(model, z, 1)).pixels)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level_temperatures": (1.0,)}, "3 for this model, not 1"),
        ({"level_temperatures": (1.0, -1.0, 1.0)}, "must be 0 or more, not -1"),
        ({"level_temperatures": (1.0, 1.0, math.nan)}, "must be 0 or more, not nan"),
        ({"level_temperatures": (1.0,) * 3, "temperature": 1.0}, "give one of them"),
    ],
)
def test_temperatures_that_fit_no_levels_are_refused(model, options, message):
    with pytest.raises(UsageError, match=message):
        model.sample(2, **options)


def test_temperatures_of_levels_are_refused_by_a_model_without(images):
    plain = build_model(pinxit.VAE(latent_dim=4, width=8), images, np.arange(48))[0]
    with pytest.raises(UsageError, match="level_temperatures"):
        plain.sample(2, level_temperatures=(1.0,))


def test_what_needs_a_gaussian_posterior_is_refused_with_the_reason(run, model, images):
    assert not has_gaussian_posterior(model)
    assert not has_snapshots(model)
    with pytest.raises(PinxitError, match=r"pinxit explain needs .* ladder of latents"):
        pinxit.explain(run.path, images, progress=False, write=False)
    with pytest.raises(PinxitError, match=r"--prior mixture needs .* ladder of latents"):
        sample_fitted(run, model, "mixture", 4, None, GenerationParams())


def test_a_flow_on_a_ladder_is_refused_with_the_reason(run, images):
    with pytest.raises(UsageError, match="has a ladder of latents, whose prior is part of it"):
        pinxit.train(pinxit.Flow(vae=str(run.path)), images, steps=1)


@pytest.mark.slow
def test_the_report_shows_what_each_level_adds(run, images, tmp_path):
    page = report(run, tmp_path / "report.html", images=images).read_text()
    assert "What each level adds" in page
    assert "levels 1 to 3" in page
    assert "level 2, 4 × 4 × 4" in page
