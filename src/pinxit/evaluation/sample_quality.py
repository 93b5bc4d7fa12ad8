"""Samples and reconstructions against the test images, in one feature space."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float32, Int

from pinxit.data.images import Images
from pinxit.evaluation.estimates import Estimate
from pinxit.evaluation.feature_space import FeatureSpace
from pinxit.evaluation.frechet import MIN_IMAGES_PER_FEATURE, blur, frechet_estimate
from pinxit.evaluation.jackknife import random_rows
from pinxit.evaluation.kid import kid_estimate
from pinxit.evaluation.memorisation import (
    MIN_EXCESS,
    MIN_NEIGHBOURS,
    Memorisation,
    distinct_rows,
    measure_memorisation,
)
from pinxit.evaluation.metrics import MetricValue
from pinxit.evaluation.pixel_components import PixelComponents
from pinxit.evaluation.precision_recall import MAX_NEIGHBOUR_IMAGES, prdc_metrics
from pinxit.evaluation.two_sample import MAX_IMAGES as TWO_SAMPLE_IMAGES
from pinxit.evaluation.two_sample import classifier_accuracy
from pinxit.sampling.observation import is_black_and_white

MAX_TRAIN_IMAGES = 10_000  # among which baselines search nearest neighbours
MAX_FIT_IMAGES = 4_096  # from which the principal components of pixels are computed
ROWS = "test images evenly spaced, others random by seed 0"
TRAIN_BATCH = 5_000  # training images in memory at once
MAX_QUERIES = 3_000  # samples, and test images, that are searched among all training images

Features = Float32[np.ndarray, "n features"]
Rows = Int[np.ndarray, " rows"]


@dataclass
class SampleQuality:
    """Distances of generated images to the test images, with `max_images` at most on each side.

    `observe` shows images as the model observes them, for example binarized; it is applied to both
    sides of a distance. `expect` shows the mean of what is observed. `protocol` and `warnings` are
    filled by `metrics`.
    """

    space: FeatureSpace
    images: Images  # all splits; the training split is used
    test: Images
    max_images: int
    observe: Callable[[Images], Images] = lambda images: images
    expect: Callable[[Images], Images] = lambda images: images
    protocol: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def metrics(self, generated: Mapping[str, Images]) -> Iterator[MetricValue]:
        """Yield the Frechet distance of each set of images, and of two baselines.

        `frechet_train_test` is the distance of training images, as many as there are samples: a
        floor for samples. `frechet_blur_baseline` is that of blurred test images. For `samples`
        also KID, precision, recall, density, coverage and memorisation.
        """
        sets = {name: images.evenly_spaced(self.max_images) for name, images in generated.items()}
        self.protocol |= {
            "images": len(self.test_subset),
            "rows": "test images evenly spaced, others random by seed 0",
        }
        self.protocol |= {name: len(images) for name, images in sets.items()}
        for name, images in sets.items():
            features = self._embed(images)
            paired = name == "reconstructions" and len(features) == len(self.test_features)
            yield f"frechet_{name}", self._frechet(features, paired=paired)
            if name == "samples":
                yield from self._sample_metrics(features)
        yield from self._baselines(len(sets.get("samples", self.test_subset)))
        if "samples" in sets and len(self.train_rows):
            yield from self._memorisation(sets["samples"])

    # -- distances -----------------------------------------------------------------------------

    def _embed(self, images: Images) -> Features:
        return self.space.embed(self.observe(images))

    def _frechet(self, features: Features, *, paired: bool = False) -> Estimate:
        groups = self.test_subset.groups
        return frechet_estimate(features, self.test_features, groups, paired=paired)

    def _sample_metrics(self, features: Features) -> Iterator[MetricValue]:
        groups = self.test_subset.groups
        self._warn_of_bias(min(len(features), len(self.test_features)))
        yield "kid_samples", kid_estimate(features, self.test_features, groups)
        nearest = min(len(features), len(self.test_features), MAX_NEIGHBOUR_IMAGES)
        self.protocol["neighbour_images"] = nearest
        yield from prdc_metrics(self.test_features, features, groups)

    def _baselines(self, count: int) -> Iterator[MetricValue]:
        """Yield the distances of `count` blurred test images and of `count` training images."""
        rows = random_rows(len(self.test_subset), count)
        blurred = self._embed(blur(self.test_subset.take(rows)))
        paired = len(blurred) == len(self.test_features)
        yield "frechet_blur_baseline", self._frechet(blurred, paired=paired)
        train = self.train_images(count)
        if train is None:
            self.warnings.append(
                f"no floor beside the Frechet distances: it takes {count:,} training images, and "
                f"there are {len(self.train_rows):,}"
            )
            return
        self.protocol["floor_images"] = count
        yield "frechet_train_test", self._frechet(self._embed(train))

    def _warn_of_bias(self, count: int) -> None:
        width = self.test_features.shape[1]
        if count < MIN_IMAGES_PER_FEATURE * width:
            self.warnings.append(
                f"the Frechet distances of {count:,} images in {width} features are mostly bias: "
                "compare them with their floor, the distance of training images, and see KID"
            )

    def two_sample_test(self, samples: Images | None) -> Iterator[MetricValue]:
        """Yield the accuracy of a classifier of samples and test images."""
        if samples is None or not len(self.train_rows):
            return
        rows = self.train_rows[random_rows(len(self.train_rows), TWO_SAMPLE_IMAGES)]
        train = self.observe(self.images.take(rows))
        test, own = self.observe(self.test_subset), self.observe(samples)
        accuracy = classifier_accuracy(train, test, own)
        if accuracy is not None:
            yield "classifier_accuracy", accuracy

    # -- memorisation --------------------------------------------------------------------------

    def _memorisation(self, samples: Images) -> Iterator[MetricValue]:
        """Yield the shares of samples and of test images that are copies of training images.

        Training images are shown by their expected pixels: a copy is near these, whichever pixels
        were sampled.
        """
        train_rows, control_rows = distinct_rows(self.images, self.train_rows, self.control_pool)
        num_shared = len(self.control_pool) - len(control_rows)
        control = self.control_pool.take(_limit(control_rows))
        samples = samples.take(_limit(np.arange(len(samples))))
        show = self.observe if is_black_and_white(samples) else self.expect
        self.protocol["memorisation"] = {
            "training_images": len(train_rows),
            "control_images": len(control),
            "samples": len(samples),
            "control_images_in_training": num_shared,
        }
        result = self._search_copies(train_rows, show(control), samples)
        self.warnings += _memorisation_warnings(result, num_shared, len(self.control_pool))
        if result is not None:
            yield "memorisation", result.samples
            yield "memorisation_control", result.control

    def _search_copies(
        self, train_rows: Rows, control: Images, samples: Images
    ) -> Memorisation | None:
        if not len(train_rows):
            return None
        rows = train_rows[random_rows(len(train_rows), MAX_FIT_IMAGES)]
        space = PixelComponents.fit(self.expect(self.images.take(rows)))
        parts = np.array_split(train_rows, -(-len(train_rows) // TRAIN_BATCH))
        train = [space.embed(self.expect(self.images.take(part))) for part in parts]
        sets = np.concatenate(train), space.embed(control), space.embed(samples)
        return measure_memorisation(*sets, control.groups)

    # -- images --------------------------------------------------------------------------------

    @cached_property
    def test_subset(self) -> Images:
        """The test images in use."""
        return self.test.evenly_spaced(self.max_images)

    @cached_property
    def test_features(self) -> Features:
        return self._embed(self.test_subset)

    @cached_property
    def control_pool(self) -> Images:
        """Test images in use, and validation images: the control of memorisation.

        Validation images are drawn as the training images were. Test images can be farther from
        them than images of a perfect model are, for example if they are by other writers.
        """
        if self.images.splits is None or not len(self.images.names):
            return self.test_subset
        in_use = set(self.test.names)
        validation = self.images.split_indices("validation")
        rows = np.array([i for i in validation if self.images.names[i] not in in_use], np.int64)
        others = self.images.take(rows[random_rows(len(rows), self.max_images)])
        return _concatenate(self.test_subset, others)

    def train_images(self, count: int) -> Images | None:
        """Return `count` random training images; None if there are fewer."""
        if len(self.train_rows) < count:
            return None
        return self.images.take(self.train_rows[random_rows(len(self.train_rows), count)])

    @cached_property
    def train_rows(self) -> Rows:
        """Rows of all training images; none if the data has no splits."""
        none = np.arange(0)
        return none if self.images.splits is None else self.images.split_indices("train")


def _concatenate(a: Images, b: Images) -> Images:
    """Concatenate the pixels, names and groups of images of one source."""
    groups = None
    if a.groups is not None and b.groups is not None:
        groups = np.concatenate([a.groups, b.groups])
    return Images(np.concatenate([a.pixels, b.pixels]), [*a.names, *b.names], groups=groups)


def _limit(rows: Rows) -> Rows:
    return rows[random_rows(len(rows), MAX_QUERIES)]


def _memorisation_warnings(
    result: Memorisation | None, num_shared: int, num_held_out: int
) -> Iterator[str]:
    if num_shared:
        yield (
            f"{num_shared:,} of {num_held_out:,} test and validation images are also training "
            "images; they are left out of the control of memorisation"
        )
    if result is None:
        yield (
            f"no memorisation: it takes {MIN_NEIGHBOURS + 1} different training images that are "
            "no test images, and test images that are no training images"
        )
    elif result.excess.low > max(MIN_EXCESS, num_shared / num_held_out):
        low, high = (f"{100 * end:.1f}" for end in result.excess)
        yield (
            f"the model reproduces training images: {low} to {high} % of the samples (95 % "
            "interval) are nearer to one than new images are"
        )
