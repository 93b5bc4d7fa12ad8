"""Simulated models whose quality is known: perfect, copying, blurry, constant."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pinxit.data.images import Images
from pinxit.evaluation.frechet import blur
from pinxit.evaluation.metrics import METRICS
from pinxit.evaluation.sample_quality import SampleQuality

NUM_TRAIN, NUM_TEST = 1200, 600


def draw_images(n, seed, side=8):
    """Images of three blobs each, sorted by their brightness."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0 : 8 : side * 1j, 0 : 8 : side * 1j]
    cy, cx, grey = rng.uniform(0, 8, (3, n, 3, 1, 1))
    light = (0.4 + grey / 14) * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 4)
    pixels = (255 * light.max(1)).astype(np.uint8)[..., None]
    return Images(pixels[np.argsort(pixels.sum((1, 2, 3)))])


class PixelSpace:
    """The pixels, weighted at random, as features."""

    @property
    def description(self):
        return {}

    def embed(self, images):
        weights = np.random.default_rng(0).normal(size=(64, 16)) / 255
        return (images.pixels.reshape(len(images), 64) @ weights).astype(np.float32)


@pytest.fixture(scope="module")
def images():
    """Training and test images, 1 % of which are training images."""
    train, test = draw_images(NUM_TRAIN, 0).pixels, draw_images(NUM_TEST, 1).pixels
    test[: NUM_TEST // 100] = train[: NUM_TEST // 100]
    splits = np.repeat(np.array([0, 2], np.int8), [NUM_TRAIN, NUM_TEST])
    names = [f"{i:04d}" for i in range(NUM_TRAIN + NUM_TEST)]
    return Images(np.concatenate([train, test]), names=names, splits=splits)


def measure(images, samples, **options):
    quality = SampleQuality(PixelSpace(), images, images.split("test"), 5_000, **options)
    return dict(quality.metrics({"samples": samples})), quality


def interval(estimate):
    return estimate.value - 1.96 * estimate.error, estimate.value + 1.96 * estimate.error


def accuses(quality):
    return any("reproduces training images" in warning for warning in quality.warnings)


def test_a_perfect_model_scores_at_the_floor(images):
    metrics, quality = measure(images, draw_images(NUM_TEST, 2))
    floor = metrics["frechet_train_test"]
    assert metrics["frechet_samples"].value < floor.value + 4 * floor.error
    assert abs(metrics["kid_samples"].value) < 4 * metrics["kid_samples"].error
    assert metrics["coverage"].value > 0.9
    assert metrics["memorisation"].value < 0.02
    assert not accuses(quality)
    assert set(metrics) <= set(METRICS)
    assert all(estimate.error > 0 for estimate in metrics.values())


def test_five_percent_of_copies_are_found_in_spite_of_duplicates_across_the_split(images):
    samples = draw_images(NUM_TEST, 2).pixels
    samples[::20] = images.split("train").pixels[100 :: NUM_TRAIN // 35][: len(samples[::20])]
    metrics, quality = measure(images, Images(samples))
    assert metrics["memorisation"].value >= 0.05
    assert interval(metrics["memorisation"])[0] > interval(metrics["memorisation_control"])[1]
    assert accuses(quality)
    assert quality.protocol["memorisation"]["control_images_in_training"] == 6
    assert "6 of 600 test and validation images are also training images" in " ".join(
        quality.warnings
    )
    assert quality.protocol["memorisation"]["training_images"] == NUM_TRAIN - 6


def test_a_blurry_model_is_far_from_the_floor_but_no_copy(images):
    metrics, quality = measure(images, blur(draw_images(NUM_TEST, 2)))
    floor = metrics["frechet_train_test"]
    assert metrics["frechet_samples"].value > floor.value + 4 * floor.error
    blurred = metrics["frechet_blur_baseline"]
    assert metrics["frechet_samples"].value == pytest.approx(blurred.value, rel=0.5)
    assert not accuses(quality)


@pytest.mark.parametrize("num_samples", [1, 2, 300])
def test_a_constant_model_covers_nothing_but_copies_nothing(images, num_samples):
    mean = images.pixels.mean(0).round().astype(np.uint8)
    metrics, quality = measure(images, Images(np.repeat(mean[None], num_samples, 0)))
    assert num_samples < 300 or metrics["coverage"].value < 0.1
    assert metrics["memorisation"].value == 0
    assert not accuses(quality)


def test_samples_and_floor_have_the_same_number_of_images(images):
    """The distance of 100 true images to 600 is larger than that of 600."""
    metrics, quality = measure(images, draw_images(2_000, 2)[::20])
    floor = metrics["frechet_train_test"]
    assert quality.protocol["samples"] == quality.protocol["floor_images"] == 100
    assert metrics["frechet_samples"].value == pytest.approx(floor.value, abs=4 * floor.error)
    assert any("100 images in 16 features are mostly bias" in text for text in quality.warnings)


def test_more_samples_than_training_images_have_no_floor(images):
    metrics, quality = measure(images, draw_images(NUM_TRAIN + 1, 2))
    assert "frechet_train_test" not in metrics
    assert "no floor" in " ".join(quality.warnings)


def test_observed_images_are_compared_with_observed_ones(images):
    """Black-and-white samples of grey images are at the floor of black-and-white images."""

    def observe(part):
        return dataclasses.replace(part, pixels=(part.pixels > 127).astype(np.uint8) * 255)

    samples = observe(draw_images(NUM_TEST, 2))
    metrics, _ = measure(images, samples, observe=observe)
    floor = metrics["frechet_train_test"]
    assert metrics["frechet_samples"].value < floor.value + 4 * floor.error
    without, _ = measure(images, samples)
    assert without["frechet_samples"].value > floor.value + 20 * floor.error


def test_binarized_copies_are_found(images):
    def observe(part):
        return dataclasses.replace(part, pixels=(part.pixels > 127).astype(np.uint8) * 255)

    samples = observe(images[100:700])
    metrics, quality = measure(images, samples, observe=observe, expect=observe)
    assert metrics["memorisation"].value > 0.9
    assert accuses(quality)


def test_copies_whose_pixels_were_sampled_anew_are_found(images):
    """As those of a model of dynamically binarized images, which never sees a draw twice."""
    rng = np.random.default_rng(0)

    def observe(part):
        draws = rng.uniform(0, 255, part.pixels.shape) < part.pixels
        return dataclasses.replace(part, pixels=draws.astype(np.uint8) * 255)

    large = draw_images(NUM_TRAIN + NUM_TEST, 3, side=24).pixels
    large = dataclasses.replace(images, pixels=np.random.default_rng(1).permutation(large))
    quality = SampleQuality(PixelSpace(), large, large.split("test"), 5_000, observe)
    copies = dict(quality._memorisation(observe(large[100:700])))
    assert interval(copies["memorisation"])[0] > interval(copies["memorisation_control"])[1]
    fresh = dict(quality._memorisation(observe(draw_images(NUM_TEST, 2, side=24))))
    assert interval(fresh["memorisation"])[0] < interval(fresh["memorisation_control"])[1]


def test_validation_images_are_in_the_control_too(images):
    """Test images here are of other blobs than the model's: all samples are nearer than these."""
    splits = np.repeat(np.array([0, 1, 2], np.int8), [800, 600, 400])
    shifted = dataclasses.replace(images, splits=splits, pixels=images.pixels.copy())
    shifted.pixels[:1400] = np.random.default_rng(0).permutation(draw_images(1400, 5).pixels)
    shifted.pixels[1400:] = 255 - shifted.pixels[1400:]
    metrics, quality = measure(shifted, draw_images(400, 2))
    assert quality.protocol["memorisation"]["control_images"] == 1000
    assert interval(metrics["memorisation"])[0] < interval(metrics["memorisation_control"])[1]


def test_the_order_of_the_samples_does_not_matter(images):
    samples = draw_images(NUM_TEST, 2)
    order = np.random.default_rng(0).permutation(NUM_TEST)
    ordered, shuffled = (measure(images, s)[0] for s in (samples, samples.take(order)))
    for name, estimate in ordered.items():
        assert estimate.value == pytest.approx(shuffled[name].value, abs=3 * estimate.error), name


def test_a_test_set_of_training_images_has_no_memorisation(images):
    doubled = dataclasses.replace(images, pixels=images.pixels.copy())
    doubled.pixels[NUM_TRAIN:] = doubled.pixels[:NUM_TEST]
    metrics, quality = measure(doubled, draw_images(50, 2))
    assert "memorisation" not in metrics
    assert "no memorisation" in " ".join(quality.warnings)


def test_equal_training_images_do_not_break_the_metrics(images):
    equal = dataclasses.replace(images, pixels=images.pixels.copy())
    equal.pixels[:NUM_TRAIN] = equal.pixels[0]
    metrics, _ = measure(equal, draw_images(50, 2))
    assert np.isfinite(metrics["frechet_samples"].value)
    assert "memorisation" not in metrics


def test_data_without_splits_has_neither_floor_nor_memorisation(images):
    metrics, _ = measure(dataclasses.replace(images, splits=None), draw_images(50, 2))
    assert {"frechet_samples", "coverage"} <= set(metrics)
    assert not {"frechet_train_test", "memorisation"} & set(metrics)
