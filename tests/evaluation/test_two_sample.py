"""A classifier of samples and true images: chance for true ones, certain for clouds."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pinxit.evaluation import two_sample
from pinxit.evaluation.frechet import blur
from pinxit.evaluation.two_sample import classifier_accuracy
from tests.builders import blobs


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(two_sample, "STEPS", 60)


def noisy(n: int, seed: int):
    """Blobs on a fine texture."""
    images = blobs(n, 16, 16, channels=3, seed=seed)
    texture = np.random.default_rng(seed).integers(0, 60, images.pixels.shape)
    pixels = np.clip(images.pixels.astype(int) + texture, 0, 255).astype(np.uint8)
    return dataclasses.replace(images, pixels=pixels)


def test_true_images_are_like_samples_and_blurred_ones_are():
    train, test = noisy(200, 0), noisy(100, 1)
    true = classifier_accuracy(train, test, noisy(200, 2))
    blurred = classifier_accuracy(train, test, blur(noisy(200, 3)))
    assert true is not None
    assert blurred is not None
    assert true.value == pytest.approx(0.5, abs=3 * true.error)
    assert blurred.value > 0.9


def test_too_few_images_give_no_accuracy():
    assert classifier_accuracy(noisy(120, 0), noisy(9, 1), noisy(240, 2)) is None
    assert classifier_accuracy(noisy(120, 0), noisy(50, 1), noisy(150, 2)) is None
    assert classifier_accuracy(noisy(50, 0), noisy(50, 1), noisy(240, 2)) is None


def test_groups_of_test_images_count_once(monkeypatch):
    monkeypatch.setattr(two_sample, "STEPS", 5)  # any classifier will do
    train, test, samples = (noisy(n, seed) for seed, n in enumerate((120, 60, 240)))
    grouped = dataclasses.replace(test, groups=np.repeat(np.arange(15), 4))
    alone = classifier_accuracy(train, test, samples)
    together = classifier_accuracy(train, grouped, samples)
    assert alone is not None
    assert together is not None
    assert together.value == alone.value
