"""Samples and reconstructions against the test images, in one feature space."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float32

from pinxit.data.images import Images
from pinxit.evaluation.feature_space import FeatureSpace
from pinxit.evaluation.frechet import (
    blur,
    fit_gaussian,
    frechet_distance,
    memorisation_rate,
    prdc_metrics,
)
from pinxit.evaluation.metrics import MetricValue

MAX_TRAIN_IMAGES = 10_000  # among which memorised images are searched

Features = Float32[np.ndarray, "n features"]


@dataclass
class SampleQuality:
    """Distances of generated images to the test images, with `max_images` at most on each side."""

    space: FeatureSpace
    images: Images  # all splits; the training split is used
    test: Images
    max_images: int

    def metrics(self, generated: Mapping[str, Images]) -> Iterator[MetricValue]:
        """Yield the Frechet distance of each set of images, and of two baselines.

        `frechet_train_test` is the distance of training to test images, a floor for samples;
        `frechet_blur_baseline` that of blurred test images. For `samples` also precision,
        recall, density, coverage and memorisation.
        """
        reference = fit_gaussian(self.test_features)
        features = {
            name: self.space.embed(images.evenly_spaced(self.max_images))
            for name, images in generated.items()
        }
        for name, rows in features.items():
            yield f"frechet_{name}", frechet_distance(fit_gaussian(rows), reference)
        blurred = self.space.embed(blur(self.test_subset))
        yield "frechet_blur_baseline", frechet_distance(fit_gaussian(blurred), reference)
        num_test = len(self.test_features)
        if len(self.train_features) >= num_test:
            step = len(self.train_features) // num_test
            train = fit_gaussian(self.train_features[::step][:num_test])
            yield "frechet_train_test", frechet_distance(train, reference)
        if "samples" in features:
            yield from prdc_metrics(self.test_features, features["samples"])
            if len(self.train_features):
                rate = memorisation_rate(
                    self.train_features, self.test_features, features["samples"]
                )
                yield "memorisation", rate

    @cached_property
    def test_subset(self) -> Images:
        """The test images in use."""
        return self.test.evenly_spaced(self.max_images)

    @cached_property
    def test_features(self) -> Features:
        return self.space.embed(self.test_subset)

    @cached_property
    def train_features(self) -> Features:
        """Features of random training images; empty if the data has no splits."""
        if self.images.splits is None:
            return self.space.embed(self.images[:0])
        rows = self.images.split_indices("train")
        rows = np.random.default_rng(0).permutation(rows)[:MAX_TRAIN_IMAGES]
        return self.space.embed(self.images.take(np.sort(rows)))

    def num_images(self) -> dict[str, int]:
        """Return the number of images of each kind, for the protocol."""
        return {"images": len(self.test_subset), "training_images": len(self.train_features)}
