"""Scores of images as a table."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pinxit.sampling.scores import bits_per_dim, score_images, score_rows
from tests.builders import blobs


class MeanScorer:
    """Scores an image with its mean grey level, and records the batches."""

    eight_bit = True
    likelihood_description = "mean"

    def __init__(self, images):
        self.info = images.info()
        self.batches = []

    def score(self, images, *, samples=1, seed=0):
        self.batches.append((len(images), seed))
        return images.pixels.mean((1, 2, 3))


def test_images_are_scored_in_batches_with_the_same_seed():
    images = blobs(25)
    model = MeanScorer(images)
    scores = score_images(model, images, num_samples=100_000)
    assert np.allclose(scores, images.pixels.mean((1, 2, 3)))
    assert [count for count, _ in model.batches] == [10, 10, 5]
    assert {seed for _, seed in model.batches} == {0}


def test_rows_are_sorted_by_score_with_bits_per_dimension():
    images = blobs(3)
    rows = list(score_rows(MeanScorer(images), images, np.array([-2.0, -30.0, -1.0])))
    assert [row["name"] for row in rows] == ["blob-001", "blob-000", "blob-002"]
    assert rows[0]["label"] == images.label_names[images.labels[1]]
    assert rows[0]["bits_per_dim"] == pytest.approx(30 / (64 * math.log(2)), abs=1e-5)
    assert bits_per_dim(-64 * math.log(2), 64) == 1
