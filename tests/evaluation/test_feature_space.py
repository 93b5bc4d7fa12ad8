"""The feature space of a data set, and distances in it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from pinxit.data.cache import cache_dir
from pinxit.evaluation import feature_space
from pinxit.evaluation.feature_space import get_feature_space
from tests.builders import blobs, noise_images


@pytest.fixture
def few_steps(monkeypatch):
    monkeypatch.setattr(feature_space, "STEPS", 25)


def test_a_feature_space_is_trained_once_and_cached(few_steps, monkeypatch):
    images = blobs(200)
    space = get_feature_space(images)
    assert space.description["task"] == "labels"
    assert space.predicts_labels
    assert space.description["accuracy"] > 0.4  # of four labels
    assert (space.predict(images) == images.labels).mean() > 0.4
    features = space.embed(images)
    assert features.shape == (200, feature_space.NUM_FEATURES)
    monkeypatch.setattr(feature_space, "_train_and_cache", None)  # a second training would fail
    again = get_feature_space(images)
    assert again.description == space.description
    assert np.array_equal(again.embed(images), features)


def test_a_damaged_feature_space_is_trained_again(few_steps):
    images = blobs(64, seed=5)
    first = get_feature_space(images)
    for file in (cache_dir() / "features").glob("*.safetensors"):
        file.write_bytes(file.read_bytes()[:-8])
    again = get_feature_space(images)
    assert again.description["weights_hash"] == first.description["weights_hash"]


def test_other_images_without_a_fingerprint_have_another_space(few_steps):
    spaces = [get_feature_space(noise_images(30, seed=seed)) for seed in (0, 1)]
    hashes = {space.description["weights_hash"] for space in spaces}
    assert len(hashes) == 2
    assert spaces[0].description["task"] == "rotation"


@pytest.mark.parametrize(("height", "width", "channels"), [(2, 2, 1), (20, 70, 3), (96, 96, 1)])
def test_a_feature_space_takes_images_of_any_size(monkeypatch, height, width, channels):
    monkeypatch.setattr(feature_space, "STEPS", 2)
    images = noise_images(10, height, width, channels)
    features = get_feature_space(images).embed(images)
    assert np.isfinite(features).all()


def test_training_a_feature_space_leaves_the_global_generator_unchanged(few_steps):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    get_feature_space(blobs(32, seed=9))
    assert torch.equal(torch.rand(1), expected)


def test_the_accuracy_of_sorted_images_is_that_of_shuffled_ones(few_steps, monkeypatch):
    """Of 60 sorted test images the first 20 would have one label of four."""
    monkeypatch.setattr(feature_space, "MAX_ACCURACY_IMAGES", 60)
    images = blobs(800, seed=4)
    order = np.lexsort([images.labels, images.splits])
    ordered = dataclasses.replace(images.take(order), fingerprint="ordered")
    by_order = [get_feature_space(i).description for i in (images, ordered)]
    error = np.hypot(*(description["accuracy_error"] for description in by_order))
    assert by_order[0]["accuracy"] == pytest.approx(by_order[1]["accuracy"], abs=4 * error)
    assert by_order[1]["accuracy_images"] == 60
