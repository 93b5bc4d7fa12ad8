"""Latents, reconstruction, sharpness and distances against closed forms and the obvious way."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.fft import dctn, idctn
from scipy.linalg import sqrtm
from scipy.ndimage import gaussian_filter

from pinxit.data.images import Images
from pinxit.evaluation import feature_space as features
from pinxit.evaluation import frechet as distance
from pinxit.evaluation import power_spectrum as sharpness
from pinxit.evaluation.latents import collapse_warnings, latent_metrics
from pinxit.evaluation.metrics import CURVES, METRICS, collect, group_metrics
from pinxit.evaluation.reconstruction import (
    mse_per_image,
    psnr,
    reconstruction_metrics,
    ssim,
)
from pinxit.evaluation.sample_quality import SampleQuality
from pinxit.sampling.latents import LatentActivity
from tests.builders import blobs


def noise(n=50, height=16, width=16, channels=1, seed=0) -> Images:
    random = np.random.default_rng(seed)
    return Images(random.integers(0, 256, (n, height, width, channels), dtype=np.uint8))


# -- latents ---------------------------------------------------------------------------------


def test_active_units_are_those_whose_mean_varies():
    found = LatentActivity(np.array([0.5, 0.02, 0.009, 0.0]), np.array([2.0, 0.1, 0.01, 0.0]))
    figures = dict(latent_metrics(found))
    assert (figures["latents"], figures["active_units"]) == (4, 2)
    assert not list(collapse_warnings(found))


def test_collapse_is_told():
    dead = LatentActivity(np.full(3, 1e-4), np.full(3, 1e-3))
    (line,) = collapse_warnings(dead)
    assert "none of the 3 latents" in line
    weak = LatentActivity(np.array([0.02, 0.0]), np.array([0.01, 0.0]))
    assert "0.01 nats" in next(collapse_warnings(weak))
    alive = LatentActivity(np.ones(3), np.ones(3))
    images = noise()
    still = Images(np.repeat(images.pixels[:1], 50, 0))
    assert "hardly depend" in next(collapse_warnings(alive, images, still))
    assert not list(collapse_warnings(alive, images, images))


# -- reconstruction --------------------------------------------------------------------------


def test_psnr_of_a_known_error():
    black = Images(np.zeros((2, 8, 8, 1), np.uint8))
    grey = Images(np.stack([np.full((8, 8, 1), 51), np.full((8, 8, 1), 0)]).astype(np.uint8))
    errors = mse_per_image(black, grey)
    assert errors == pytest.approx([0.04, 0])
    assert psnr(errors)[0] == pytest.approx(10 * np.log10(1 / 0.04))
    assert np.isfinite(psnr(errors)).all()


@pytest.mark.parametrize(("height", "width"), [(3, 3), (8, 8), (9, 30), (16, 16)])
@pytest.mark.parametrize("channels", [1, 3])
def test_ssim_is_one_for_equal_images_and_less_for_others(height, width, channels):
    images = noise(4, height, width, channels)
    assert ssim(images, images) == pytest.approx(np.ones(4))
    assert (ssim(images, noise(4, height, width, channels, seed=1)) < 0.9).all()


def test_images_too_small_for_ssim_leave_it_out():
    images = noise(4, 2, 2)
    assert "ssim" not in dict(reconstruction_metrics(images, images))


# -- sharpness -------------------------------------------------------------------------------


def test_equal_images_are_as_sharp():
    images = noise()
    same = dict(sharpness.sharpness_metrics(images, images, images))
    assert same["sharpness_samples"] == 1
    assert same["spectrum_reconstructions"] == pytest.approx([1] * 8)


@pytest.mark.parametrize("height", [16, 24])
def test_a_blur_lowers_power_by_its_transfer_function_squared(height):
    """A Gaussian blur's transfer function is exp(-2 (pi f s)^2); here it is the sampled kernel's,
    which mirrors at the edges as the cosine transform does, so the ratio is exact."""
    sigma, width = 0.7, 16
    # smooth and unrounded, in place of 8-bit images: what is tested is the spectrum
    random = np.random.default_rng(0)
    images = [random.normal(0, 20, (height, width, 1)) for _ in range(40)]
    soft = [gaussian_filter(p, (sigma, sigma, 0), mode="reflect", truncate=8) for p in images]
    before, after = sharpness.power_spectrum(images), sharpness.power_spectrum(soft)
    kernel = np.arange(-6, 7)
    weights = np.exp(-0.5 * (kernel / sigma) ** 2)
    weights /= weights.sum()

    def transfer(n):
        f = np.arange(n) / (2 * n)  # cycles a pixel
        return (weights[None] * np.cos(2 * np.pi * f[:, None] * kernel[None])).sum(1)

    gain = np.outer(transfer(height), transfer(width)) ** 2
    power = np.mean([dctn(p[..., 0].astype(np.float32), norm="ortho") ** 2 for p in images], 0)
    radius = np.hypot(np.arange(height)[:, None] / (2 * height), np.arange(width) / (2 * width))
    upper = (radius >= 0.25) & (radius <= 0.5)
    expected = (power * gain)[upper].sum() / power[upper].sum()
    assert sharpness.sharpness(after, before) == pytest.approx(expected, rel=1e-3)
    curve = sharpness.spectrum_ratio(after, before)
    assert np.all(np.diff(curve) < 0)
    continuous = np.exp(-((2 * np.pi * before.frequencies * sigma) ** 2))
    assert np.abs(curve - continuous).max() < 0.05


def test_a_wave_has_its_power_at_its_frequency():
    modes = np.zeros((32, 32))
    modes[0, 16] = 1000  # 16 half waves over 32 pixels: a quarter of a cycle a pixel
    found = sharpness.power_spectrum([idctn(modes, norm="ortho")[..., None]])
    assert found.frequencies[np.argmax(found.power)] == pytest.approx(0.25, abs=1 / 32)
    assert found.upper == pytest.approx(1000**2, rel=1e-4)


def test_the_mean_of_an_image_is_no_detail():
    flat = Images(np.full((3, 8, 8, 3), 200, np.uint8))
    assert sharpness.power_spectrum(flat).power == pytest.approx(np.zeros(4), abs=1e-3)


def test_any_iterable_of_images_will_do():
    images = noise(5)
    one, other = sharpness.power_spectrum(images), sharpness.power_spectrum(iter(images))
    assert one.power == pytest.approx(other.power)


# -- distances -------------------------------------------------------------------------------


def test_frechet_distance_of_gaussians_in_closed_form():
    a = distance.Gaussian(np.zeros(3), np.diag([1.0, 4.0, 9.0]))
    b = distance.Gaussian(np.array([1.0, 2.0, 2.0]), np.diag([4.0, 4.0, 1.0]))
    assert distance.frechet_distance(a, b) == pytest.approx(9 + (1 + 0 + 4))


def test_frechet_distance_is_that_by_the_matrix_root():
    random = np.random.default_rng(0)
    a = distance.fit_gaussian(random.normal(size=(200, 6)) @ random.normal(size=(6, 6)))
    b = distance.fit_gaussian(random.normal(size=(200, 6)) @ random.normal(size=(6, 6)) + 1)
    root = sqrtm(a.covariance @ b.covariance).real
    expected = np.square(a.mean - b.mean).sum()
    expected += np.trace(a.covariance + b.covariance - 2 * root)
    assert distance.frechet_distance(a, b) == pytest.approx(expected)
    assert distance.frechet_distance(a, b) == pytest.approx(distance.frechet_distance(b, a))


def test_frechet_distance_where_covariances_are_singular():
    rows = np.random.default_rng(0).normal(size=(4, 10))  # fewer rows than features
    a = distance.fit_gaussian(rows)
    assert distance.frechet_distance(a, a) == pytest.approx(0, abs=1e-6)
    assert distance.frechet_distance(a, distance.fit_gaussian(rows + 1)) == pytest.approx(10)


def obvious_neighbourhoods(real, made, k):
    """Precision, recall, density and coverage as their papers' sums say, in loops."""

    def radius(rows):
        return [sorted(np.linalg.norm(rows - row, axis=1))[k] for row in rows]

    real_radius, made_radius = radius(real), radius(made)
    inside = np.array(
        [[np.linalg.norm(r - m) < real_radius[i] for m in made] for i, r in enumerate(real)]
    )
    covered = [
        any(np.linalg.norm(r - m) < made_radius[j] for j, m in enumerate(made)) for r in real
    ]
    return {
        "precision": np.mean(inside.any(0)),
        "recall": np.mean(covered),
        "density": inside.sum() / (k * len(made)),
        "coverage": np.mean(inside.any(1)),
    }


def test_neighbourhood_figures_are_those_of_the_obvious_way():
    random = np.random.default_rng(0)
    real, made = random.normal(size=(40, 3)), random.normal(0.5, 0.7, (30, 3))
    found = dict(distance.prdc_metrics(real, made, k=3))
    assert found == pytest.approx(obvious_neighbourhoods(real, made, 3))


def test_copies_of_training_images_are_seen():
    random = np.random.default_rng(0)
    train, test, new = (random.normal(size=(300, 8)) for _ in range(3))
    assert distance.memorisation_rate(train, test, new) < 0.05
    assert distance.memorisation_rate(train, test, train[:50]) == 1


# -- feature space ---------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(features, "STEPS", 25)


def test_a_feature_space_is_trained_once_and_kept(quick, monkeypatch):
    images = blobs(200)
    space = features.get_feature_space(images)
    assert space.facts["task"] == "label"
    assert space.facts["accuracy"] > 0.4  # of four labels
    vectors = space.embed(images)
    assert vectors.shape == (200, features.NUM_FEATURES)
    monkeypatch.setattr(features, "_train_and_cache", None)  # a second training would fail
    again = features.get_feature_space(images)
    assert again.facts == space.facts
    assert np.array_equal(again.embed(images), vectors)


def test_a_damaged_feature_space_is_made_again(quick):
    from pinxit.data.cache import cache_dir

    images = blobs(64, seed=5)
    first = features.get_feature_space(images)
    for file in (cache_dir() / "features").glob("*.safetensors"):
        file.write_bytes(file.read_bytes()[:-8])
    assert features.get_feature_space(images).facts["identity"] == first.facts["identity"]


def test_other_images_have_another_space_also_without_a_fingerprint(quick):
    spaces = [features.get_feature_space(noise(30, seed=seed)) for seed in (0, 1)]
    assert spaces[0].facts["identity"] != spaces[1].facts["identity"]
    assert spaces[0].facts["task"] == "quarter turns"


@pytest.mark.parametrize(("height", "width", "channels"), [(2, 2, 1), (20, 70, 3), (96, 96, 1)])
def test_a_feature_space_takes_images_of_any_size(quick, monkeypatch, height, width, channels):
    monkeypatch.setattr(features, "STEPS", 2)
    images = noise(10, height, width, channels)
    vectors = features.get_feature_space(images).embed(images)
    assert np.isfinite(vectors).all()


def test_training_a_feature_space_leaves_the_chance_of_others_alone(quick):
    import torch

    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    features.get_feature_space(blobs(32, seed=9))
    assert torch.equal(torch.rand(1), expected)


def test_a_blur_is_farther_than_the_training_images(quick):
    images = blobs(400, 16, 16)
    images.pixels[:, ::2] = 0  # stripes: detail that a blur takes away
    space = features.get_feature_space(images)
    test = images.split("test")
    comparison = SampleQuality(space, images, test, 100)
    shuffled = Images(test.pixels[::-1].copy())
    found = dict(comparison.figures({"samples": images.split("train"), "copies": shuffled}))
    assert found["frechet_copies"] == pytest.approx(0, abs=1e-5)
    assert found["frechet_blur_baseline"] > found["frechet_train_test"]
    assert found["memorisation"] > 0.9
    assert set(found) - {"frechet_copies"} <= set(METRICS)


def test_figures_and_curves_are_told_apart():
    figures, curves = collect([("elbo", 1), ("kl_per_latent", [1, 2]), ("psnr", 2.0)])
    assert figures == {"elbo": 1.0, "psnr": 2.0}
    assert curves == {"kl_per_latent": [1.0, 2.0]}
    assert [name for name, _ in group_metrics(figures)] == ["likelihood", "reconstruction"]
    assert not set(CURVES) & set(METRICS)
