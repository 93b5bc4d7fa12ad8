"""Evaluate frozen features by label prediction: linear probe and nearest neighbours.

The probe is multinomial logistic regression on standardised
features, fitted on training images and tested on test images (Chen 2020, sec. 2.4; He 2021,
sec. 4.1).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float32, Int64
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, normalize

from pinxit.data.images import Images
from pinxit.evaluation.metrics import Fact, MetricValue
from pinxit.models.protocols import CanEmbed, HasHiddenStates

NUM_NEIGHBOURS = 20
MAX_ITERATIONS = 300  # of L-BFGS
INVERSE_REGULARIZATION = 1.0  # sklearn's C

Features = Float32[np.ndarray, "n width"]
Labels = Int64[np.ndarray, " n"]


def probe_metrics(model: CanEmbed, train: Images, test: Images) -> Iterator[MetricValue]:
    """Yield the accuracy of nearest neighbours and of the linear probe on `embed`.

    A model with hidden states is probed at every layer; its best layer counts.
    """
    assert train.labels is not None and test.labels is not None
    yield "probe_train_images", Fact(len(train))
    train_features, test_features = model.embed(train), model.embed(test)
    accuracy = knn_accuracy(train_features, train.labels, test_features, test.labels)
    yield "neighbour_accuracy", accuracy
    if not isinstance(model, HasHiddenStates):
        accuracy = probe_accuracy(train_features, train.labels, test_features, test.labels)
        yield "probe_accuracy", accuracy
        return
    by_layer = [
        probe_accuracy(train_layer, train.labels, test_layer, test.labels)
        for train_layer, test_layer in zip(
            model.hidden_states(train), model.hidden_states(test), strict=True
        )
    ]
    yield "probe_by_layer", by_layer
    yield "probe_accuracy", max(by_layer)
    yield "probe_layer", Fact(int(np.argmax(by_layer)))


def probe_accuracy(
    train: Features, train_labels: Labels, test: Features, test_labels: Labels
) -> float:
    """Return the test accuracy of logistic regression on the features."""
    classifier = LogisticRegression(C=INVERSE_REGULARIZATION, max_iter=MAX_ITERATIONS)
    probe = make_pipeline(StandardScaler(), classifier)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # stopping at MAX_ITERATIONS is intended
        probe.fit(train, train_labels)
    return float((probe.predict(test) == test_labels).mean())


def knn_accuracy(
    train: Features, train_labels: Labels, test: Features, test_labels: Labels
) -> float:
    """Return the test accuracy of a vote of the 20 nearest training images by cosine."""
    k = min(NUM_NEIGHBOURS, len(train))
    classifier = KNeighborsClassifier(k, algorithm="brute").fit(normalize(train), train_labels)
    return float((classifier.predict(normalize(test)) == test_labels).mean())


def select_labelled(images: Images, max_images: int | None) -> Images | None:
    """Return at most `max_images` of the images with a label; None for fewer than two classes."""
    if images.labels is None:
        return None
    labelled = images.take(np.flatnonzero(images.labels >= 0))
    if len(labelled) == 0 or len(np.unique(labelled.labels)) < 2:  # type: ignore[arg-type]
        return None
    return labelled.evenly_spaced(max_images)
