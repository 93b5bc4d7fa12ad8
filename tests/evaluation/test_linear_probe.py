"""Linear probe and nearest neighbours on features with a known content."""

from __future__ import annotations

import dataclasses

import numpy as np

from pinxit.evaluation.linear_probe import (
    knn_accuracy,
    probe_accuracy,
    probe_metrics,
    select_labelled,
)
from tests.builders import blobs, values_of


def two_classes(n, rng, distance):
    """Gaussian features of two classes whose means are `distance` apart in one feature."""
    labels = rng.integers(0, 2, n)
    features = rng.normal(size=(n, 5)).astype(np.float32)
    features[:, 2] += distance * labels
    return features, labels.astype(np.int64)


def test_accuracy_is_high_for_separable_classes_and_half_for_equal_ones():
    rng = np.random.default_rng(0)
    for accuracy in (probe_accuracy, knn_accuracy):
        assert accuracy(*two_classes(400, rng, 9), *two_classes(400, rng, 9)) > 0.9
        assert 0.35 < accuracy(*two_classes(400, rng, 0), *two_classes(400, rng, 0)) < 0.65


class LayeredEncoder:
    """Its second layer encodes the labels, the others are noise."""

    def embed(self, images):
        return self.hidden_states(images)[-1]

    def hidden_states(self, images):
        rng = np.random.default_rng(len(images))
        states = rng.normal(size=(3, len(images), 4)).astype(np.float32)
        states[1, :, 0] += 20 * images.labels
        return states


def test_the_probe_by_layer_finds_the_layer_that_encodes_the_labels():
    images = blobs(400)
    train, test = images.split("train"), images.split("test")
    metrics = values_of(probe_metrics(LayeredEncoder(), train, test))
    assert metrics["probe_layer"] == 1
    assert metrics["probe_accuracy"] == metrics["probe_by_layer"][1] > 0.95
    assert max(metrics["probe_by_layer"][0], metrics["probe_by_layer"][2]) < 0.6
    assert metrics["probe_train_images"] == 200


def test_a_probe_needs_two_classes():
    images = blobs()
    assert select_labelled(dataclasses.replace(images, labels=None), 5) is None
    assert select_labelled(dataclasses.replace(images, labels=images.labels * 0), 5) is None
    labels = np.where(images.labels == 0, -1, images.labels)
    partly_labelled = dataclasses.replace(images, labels=labels)
    assert (select_labelled(partly_labelled, None).labels > 0).all()
