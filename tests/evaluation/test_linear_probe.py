"""Linear probe and nearest neighbours on features with a known content."""

from __future__ import annotations

import dataclasses

import numpy as np

from pinxit.evaluation.linear_probe import (
    fit_probe,
    predict_by_neighbours,
    probe_metrics,
    select_labelled,
    split_for_probe,
)
from pinxit.evaluation.metrics import collect
from tests.builders import blobs


def two_classes(n, rng, distance):
    """Gaussian features of two classes whose means are `distance` apart in one feature."""
    labels = rng.integers(0, 2, n)
    features = rng.normal(size=(n, 5)).astype(np.float32)
    features[:, 2] += distance * labels
    return features, labels.astype(np.int64)


def test_accuracy_is_high_for_separable_classes_and_half_for_equal_ones():
    rng = np.random.default_rng(0)
    for predict in (probe_predictions, predict_by_neighbours):
        for distance, low, high in ((9, 0.9, 1), (0, 0.35, 0.65)):
            (train, labels), (test, true) = (two_classes(400, rng, distance) for _ in range(2))
            assert low < (predict(train, labels, test) == true).mean() <= high


def probe_predictions(train, labels, test):
    return fit_probe(train, labels).predict(test)


class LayeredEncoder:
    """Its second layer encodes the labels, the others are noise of the images."""

    def embed(self, images):
        return self.hidden_states(images)[-1]

    def hidden_states(self, images):
        rng = np.random.default_rng(int(images.pixels.sum()))
        states = rng.normal(size=(3, len(images), 4)).astype(np.float32)
        states[1, :, 0] += 20 * images.labels
        return states


def build_probe(images):
    train, validation, test = (images.split(name) for name in ("train", "validation", "test"))
    return split_for_probe(train, validation, test)


def test_the_probe_by_layer_finds_the_layer_that_encodes_the_labels():
    collected = collect(probe_metrics(LayeredEncoder(), build_probe(blobs(400))))
    metrics, by_layer = collected.metrics, collected.curves["probe_by_layer"]
    assert collected.facts["probe_layer"] == 1
    assert metrics["probe_accuracy"] > 0.95
    assert max(by_layer[0], by_layer[2]) < 0.6
    assert collected.facts["probe_train_images"] == 200
    assert 0 < metrics["probe_accuracy_error"] < 0.05
    assert 0.02 < metrics["neighbour_accuracy_error"] < 0.08


class NoiseEncoder(LayeredEncoder):
    """20 layers of noise: the best of them on any images is better than chance."""

    def hidden_states(self, images):
        rng = np.random.default_rng(int(images.pixels.sum()))
        return rng.normal(size=(20, len(images), 4)).astype(np.float32)


def test_the_layer_is_not_chosen_on_test_images():
    """Chosen on them the accuracy of noise would be 8 points above chance here, always."""
    accuracies = []
    for seed in range(6):
        images = blobs(400, seed=seed)
        labels = np.random.default_rng(seed).integers(0, 2, 400)
        probe = build_probe(dataclasses.replace(images, labels=labels))
        collected = collect(probe_metrics(NoiseEncoder(), probe))
        accuracies.append(collected.metrics["probe_accuracy"])
    assert abs(np.mean(accuracies) - 0.5) < 0.06
    assert max(collected.curves["probe_by_layer"]) > 0.55


class SparseEncoder:
    """One feature tells the label, 60 are noise: few training images need strong regularization."""

    def embed(self, images):
        rng = np.random.default_rng(int(images.pixels.sum()))
        features = rng.normal(size=(len(images), 60)).astype(np.float32)
        features[:, 0] += 1.5 * images.labels
        return features


def test_the_regularization_is_chosen_on_validation_images():
    images = blobs(400)
    labels = np.random.default_rng(0).integers(0, 2, 400)
    probe = build_probe(dataclasses.replace(images, labels=labels))
    facts = collect(probe_metrics(SparseEncoder(), probe)).facts
    assert facts["probe_inverse_regularization"] < 1


def test_without_validation_images_whole_groups_of_training_images_are_held_out():
    images = blobs(400)
    images = dataclasses.replace(images, groups=np.arange(400) // 8)
    train, test = images.split("train"), images.split("test")
    for validation in (None, images.split("validation")[:9]):
        parts = split_for_probe(train, validation, test)
        assert parts.chosen_on == "a fifth of the training images, held out"
        assert (len(parts.train), len(parts.validation)) == (160, 40)
        assert not set(parts.train.groups) & set(parts.validation.groups)


def test_images_are_selected_from_all_of_a_sorted_set():
    images = blobs(400)
    images = images.take(np.argsort(images.labels, kind="stable"))
    counts = np.bincount(select_labelled(images, 100).labels, minlength=4)
    assert len(select_labelled(images, 100)) == 100
    assert counts.min() > 10


def test_a_probe_needs_two_classes():
    images = blobs()
    assert select_labelled(dataclasses.replace(images, labels=None), 5) is None
    assert select_labelled(dataclasses.replace(images, labels=images.labels * 0), 5) is None
    labels = np.where(images.labels == 0, -1, images.labels)
    partly_labelled = dataclasses.replace(images, labels=labels)
    assert (select_labelled(partly_labelled, None).labels > 0).all()
