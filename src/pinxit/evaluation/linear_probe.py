"""Evaluate frozen features by label prediction: linear probe and nearest neighbours.

The probe is multinomial logistic regression on standardised features, fitted on training images
(Chen 2020, sec. 2.4; He 2021, sec. 4.1). Its layer and regularization are chosen on validation
images. Test images only measure the accuracy of what was chosen.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float32, Int64

from pinxit.data.image_rows import ImageRows
from pinxit.data.images import Images
from pinxit.evaluation.estimates import Curve, Estimate, estimate_proportion
from pinxit.evaluation.jackknife import assign_blocks, random_rows
from pinxit.evaluation.metrics import Fact, MetricValue
from pinxit.models.protocols import CanEmbed, HasHiddenStates
from pinxit.nn.logistic_regression import LogisticRegression, fit_logistic_regression

NUM_NEIGHBOURS = 20
QUERY_BATCH = 1_024  # images whose neighbours are searched at a time
DEFAULT_C = 1.0  # inverse regularization, with which layers are compared
C_VALUES = (0.01, 0.1, 1.0, 10.0)  # tried on the best layer
MAX_VALIDATION_IMAGES = 2_000
MIN_VALIDATION_IMAGES = 100  # fewer are too few to choose on
NUM_FOLDS = 5  # of the training images; one is held out if there is no validation split

Features = Float32[np.ndarray, "n width"]
Labels = Int64[np.ndarray, " n"]


class ProbeImages(NamedTuple):
    """Images with labels: to fit on, to choose layer and regularization on, and to test."""

    train: Images
    validation: Images
    test: Images
    chosen_on: str  # what the validation images are

    def describe(self) -> dict[str, Any]:
        """Return the numbers of images and what was chosen on which, for the protocol."""
        return {
            "training_images": len(self.train),
            "validation_images": len(self.validation),
            "test_images": len(self.test),
            "chosen_on": self.chosen_on,
        }


def split_for_probe(train: Images, validation: Images | None, test: Images) -> ProbeImages:
    """Return the images of a probe; all that are given have labels.

    With fewer than 100 validation images a fifth of the training images is held out instead, by
    whole groups.
    """
    if validation is not None and len(validation) >= MIN_VALIDATION_IMAGES:
        return ProbeImages(train, validation, test, "validation")
    is_held_out = assign_blocks(len(train), train.groups, NUM_FOLDS) == 0
    held_out = train.take(np.flatnonzero(is_held_out))
    rest = train.take(np.flatnonzero(~is_held_out))
    return ProbeImages(rest, held_out, test, "a fifth of the training images, held out")


def probe_metrics(model: CanEmbed, images: ProbeImages) -> Iterator[MetricValue]:
    """Yield the accuracy of nearest neighbours and of the linear probe on the test images.

    Both are on `embed`. A model with hidden states is probed at the layer that is best on the
    validation images; `probe_by_layer` has the accuracies on these.
    """
    train, validation, test, _ = images
    assert train.labels is not None and test.labels is not None
    yield "probe_train_images", Fact(len(train))
    embedded = [model.embed(part) for part in (train, validation, test)]
    votes = predict_by_neighbours(embedded[0], train.labels, embedded[2])
    yield "neighbour_accuracy", _estimate_accuracy(votes, test)
    if not isinstance(model, HasHiddenStates):
        yield from _test_probe(embedded, images)
        return
    layers = list(zip(*(model.hidden_states(part) for part in images[:3]), strict=True))
    by_layer = [_validate(fit_probe(layer[0], train.labels), layer[1], images) for layer in layers]
    accuracies = np.array([accuracy.value for accuracy in by_layer])
    errors = np.array([accuracy.error for accuracy in by_layer])
    yield "probe_by_layer", Curve(accuracies, errors)
    best = int(np.argmax(accuracies))
    yield "probe_layer", Fact(best)
    yield from _test_probe(layers[best], images)


def _test_probe(features: Sequence[Features], images: ProbeImages) -> Iterator[MetricValue]:
    """Yield the test accuracy with the regularization that is best on the validation images.

    `features` are those of the training, validation and test images.
    """
    assert images.train.labels is not None
    probes = [fit_probe(features[0], images.train.labels, c) for c in C_VALUES]
    best = int(np.argmax([_validate(probe, features[1], images).value for probe in probes]))
    yield "probe_inverse_regularization", Fact(C_VALUES[best])
    yield "probe_accuracy", _estimate_accuracy(probes[best].predict(features[2]), images.test)


def _validate(probe: LogisticRegression, features: Features, images: ProbeImages) -> Estimate:
    return _estimate_accuracy(probe.predict(features), images.validation)


def _estimate_accuracy(predicted: Labels, images: Images) -> Estimate:
    accuracy = estimate_proportion(predicted == images.labels, images.groups)
    return dataclasses.replace(accuracy, names=images.names)


def fit_probe(features: Features, labels: Labels, c: float = DEFAULT_C) -> LogisticRegression:
    """Fit logistic regression with inverse regularization `c` on standardized features."""
    return fit_logistic_regression(features, labels, c)


def predict_by_neighbours(train: Features, labels: Labels, queries: Features) -> Labels:
    """Return the label that most of the 20 nearest training images by cosine have.

    Of labels with equally many, the smallest.
    """
    k = min(NUM_NEIGHBOURS, len(train))
    directions = F.normalize(torch.from_numpy(train), dim=1)
    classes, indices = np.unique(labels, return_inverse=True)
    one_hot = F.one_hot(torch.from_numpy(indices), len(classes))
    votes = []
    for batch in torch.from_numpy(queries).split(QUERY_BATCH):
        nearest = (F.normalize(batch, dim=1) @ directions.T).topk(k).indices
        votes.append(one_hot[nearest].sum(1).argmax(1))
    return classes[torch.cat(votes).numpy()]


def select_labelled(images: Images | ImageRows, max_images: int | None) -> Images | None:
    """Return at most `max_images` random images with a label; None for fewer than two classes."""
    images = ImageRows.of(images)
    if images.images.labels is None:
        return None
    labels = images.images.labels[images.rows]
    rows = np.flatnonzero(labels >= 0)
    if len(np.unique(labels[rows])) < 2:
        return None
    return images.take(rows if max_images is None else rows[random_rows(len(rows), max_images)])
