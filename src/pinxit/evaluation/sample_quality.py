"""Samples and reconstructions against the test images, in one feature space."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from pinxit.data.images import Images
from pinxit.evaluation.feature_space import EncoderSpace, FeatureSpace
from pinxit.evaluation.frechet import (
    blur,
    fit_gaussian,
    frechet_distance,
    memorisation_rate,
    prdc_metrics,
)
from pinxit.evaluation.metrics import MetricValue

MAX_TRAIN_IMAGES = 10_000  # training images among which the nearest is looked for


@dataclass
class SampleQuality:
    """Distances to the test images; as many images on each side, `count` at most."""

    space: FeatureSpace | EncoderSpace
    images: Images  # with the training split
    test: Images
    count: int

    def figures(self, made: Mapping[str, Images]) -> Iterator[MetricValue]:
        """Frechet distances of what was `made`, with a floor and a yardstick; for `samples` also
        precision, recall, density, coverage and the share that looks memorised."""
        real = fit_gaussian(self.real)
        features = {name: self.space.embed(p.evenly_spaced(self.count)) for name, p in made.items()}
        for name, rows in features.items():
            yield f"frechet_{name}", frechet_distance(fit_gaussian(rows), real)
        soft = self.space.embed(blur(self.few))
        yield "frechet_blur_baseline", frechet_distance(fit_gaussian(soft), real)
        if len(self.train) >= len(self.real):
            floor = fit_gaussian(self.train[:: len(self.train) // len(self.real)][: len(self.real)])
            yield "frechet_train_test", frechet_distance(floor, real)
        if "samples" in features:
            yield from prdc_metrics(self.real, features["samples"])
            if len(self.train):
                yield "memorisation", memorisation_rate(self.train, self.real, features["samples"])

    @cached_property
    def few(self) -> Images:
        return self.test.evenly_spaced(self.count)

    @cached_property
    def real(self) -> np.ndarray:
        return self.space.embed(self.few)

    @cached_property
    def train(self) -> np.ndarray:
        """Features of training images; none where the data has no splits."""
        if self.images.splits is None:
            return self.space.embed(self.images[:0])
        rows = self.images.split_indices("train")
        some = np.random.default_rng(0).permutation(rows)[:MAX_TRAIN_IMAGES]
        return self.space.embed(self.images.take(np.sort(some)))

    def counts(self) -> dict[str, Any]:
        """For the protocol."""
        return {"images": len(self.few), "training_images": len(self.train)}
