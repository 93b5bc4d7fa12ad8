"""What a model's features know of the labels: a linear probe, and the nearest neighbours.

The features are frozen (`embed`); the probe is multinomial logistic regression on features
scaled to unit variance, fitted on training images and judged on test images (Chen 2020,
section 2.4; He 2021, section 4.1).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64

from pinxit.data.images import Images
from pinxit.evaluation.metrics import MetricValue
from pinxit.models.protocols import HasHiddenStates

NUM_NEIGHBOURS = 20
MAX_ITERATIONS = 300  # of L-BFGS
PENALTY = 1.0  # sklearn's C

Features = Float32[np.ndarray, "n width"]
Labels = Int64[np.ndarray, " n"]


def select_labelled(images: Images, most: int | None) -> Images | None:
    """At most so many of the images that have labels; None where they are of one class."""
    if images.labels is None:
        return None
    known = images.take(np.flatnonzero(images.labels >= 0))
    if len(known) == 0 or len(np.unique(known.labels)) < 2:  # type: ignore[arg-type]
        return None
    return known.evenly_spaced(most)


def probe_accuracy(
    train: Features, labels: Labels, test: Features, truth: Labels, *, penalty: float = PENALTY
) -> float:
    """Share of the test images that a linear classifier on the features tells right."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probe = make_pipeline(StandardScaler(), LogisticRegression(C=penalty, max_iter=MAX_ITERATIONS))
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fitting that stops at ITERATIONS is meant
        probe.fit(train, labels)
    return float((probe.predict(test) == truth).mean())


def knn_accuracy(train: Features, labels: Labels, test: Features, truth: Labels) -> float:
    """Share that the vote of the 20 nearest training images by cosine tells right."""
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.preprocessing import normalize

    few = min(NUM_NEIGHBOURS, len(train))
    voters = KNeighborsClassifier(few, algorithm="brute").fit(normalize(train), labels)
    return float((voters.predict(normalize(test)) == truth).mean())


def probe_metrics(model: Any, train: Images, test: Images) -> Iterator[MetricValue]:
    """Both accuracies on `embed`; by layer too, where the model gives its features by layer."""
    assert train.labels is not None and test.labels is not None
    yield "probe_train_images", float(len(train))
    seen, tried = model.embed(train), model.embed(test)
    yield "neighbour_accuracy", knn_accuracy(seen, train.labels, tried, test.labels)
    if not isinstance(model, HasHiddenStates):
        yield "probe_accuracy", probe_accuracy(seen, train.labels, tried, test.labels)
        return
    layers = [
        probe_accuracy(a, train.labels, b, test.labels)
        for a, b in zip(model.hidden_states(train), model.hidden_states(test), strict=True)
    ]
    yield "probe_by_layer", layers
    yield "probe_accuracy", max(layers)
    yield "probe_layer", float(np.argmax(layers))
