"""Differences of two evaluations, with 95 % intervals: paired where they measured the same images.

Much of a metric's error is which images are in the test split. Two runs on the same images share
it, and their difference, image by image, is known better than either value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64

from pinxit.evaluation.estimates import Estimate, Groups, subtract_estimates
from pinxit.evaluation.metrics import get_metric
from pinxit.evaluation.per_image import PerImage, read_per_image
from pinxit.evaluation.student_t import t_interval
from pinxit.runs import Run

LEVEL = 0.95  # of the intervals
TOLERANCE = 1e-7  # of a mean of values that are written with 9 digits


@dataclass(frozen=True)
class Difference:
    """By how much a metric of one run is above that of another."""

    value: float
    error: float | None  # None if unknown
    low: float | None  # of the 95 % interval
    high: float | None
    paired: bool  # image by image; otherwise as of independent samples
    images: int | None  # of a paired difference

    @property
    def significant(self) -> bool:
        """Whether the interval is known and does not contain 0."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high


@dataclass(frozen=True)
class Evaluation:
    """What was measured of a run on a split."""

    metrics: Mapping[str, float | None]
    protocol: Mapping[str, Any]
    per_image: PerImage


def read_evaluation(run: Run, split: str) -> Evaluation:
    """Read an evaluation and its values of single images; empty if there is none."""
    record = run.evaluation(split)
    metrics, protocol = record.get("metrics") or {}, record.get("protocol") or {}
    return Evaluation(metrics, protocol, read_per_image(run, split))


def subtract_metrics(a: Evaluation, b: Evaluation, name: str) -> Difference | None:
    """Return the metric of `a` minus that of `b`; None if one lacks it."""
    value, other = a.metrics.get(name), b.metrics.get(name)
    if value is None or other is None or not np.isfinite([value, other]).all():
        return None
    columns = _values_of_same_images(a, b, name)
    if columns is None:
        error = math.hypot(*(_get_error(evaluation, name) for evaluation in (a, b)))
        return _add_interval(value - other, error, math.inf, paired=False, images=None)
    (first, second), groups = columns
    difference = subtract_estimates(
        Estimate(value, math.nan, first),
        Estimate(other, math.nan, second),
        groups,
        proportions=get_metric(name).unit == "fraction",
    )
    count = len(first) if groups is None else len(np.unique(groups))
    return _add_interval(
        difference.value, difference.error, count - 1, paired=True, images=len(first)
    )


def _get_error(evaluation: Evaluation, name: str) -> float:
    error = evaluation.metrics.get(f"{name}_error")
    return math.nan if error is None else error


def _values_of_same_images(
    a: Evaluation, b: Evaluation, name: str
) -> tuple[Float64[np.ndarray, "2 n"], Groups | None] | None:
    """The values of both runs of each image, and its group; None if the images are not the same."""
    fingerprint = a.protocol.get("fingerprint")
    if not fingerprint or fingerprint != b.protocol.get("fingerprint"):
        return None
    measured = [_values_by_image(evaluation.per_image, name) for evaluation in (a, b)]
    if not measured[0] or measured[0].keys() != measured[1].keys():
        return None
    names = list(measured[0])
    columns = np.array([[values[image] for image in names] for values in measured])
    means = a.metrics[name], b.metrics[name]
    if not all(_has_mean(*pair) for pair in zip(columns, means, strict=True)):
        return None
    if a.per_image.groups is None:
        return columns, None
    group_of = dict(zip(a.per_image.names, a.per_image.groups.tolist(), strict=True))
    return columns, np.array([group_of[image] for image in names])


def _has_mean(values: Float64[np.ndarray, " n"], mean: float | None) -> bool:
    """Whether a metric is the mean of these values: they are written after it, and may be older."""
    rounding = TOLERANCE * (np.abs(values).mean() + abs(mean or 0.0))
    return mean is not None and bool(abs(values.mean() - mean) <= rounding)


def _values_by_image(table: PerImage, name: str) -> dict[str, float]:
    """The value of each measured image, by its name."""
    if name not in table.values:
        return {}
    values = zip(table.names, table.values[name].tolist(), strict=True)
    return {image: value for image, value in values if not math.isnan(value)}


def _add_interval(
    value: float, error: float, degrees: float, *, paired: bool, images: int | None
) -> Difference:
    """Add the interval of Student's t distribution."""
    if math.isnan(error):
        return Difference(value, None, None, None, paired, images)
    margin = t_interval(LEVEL, degrees) * error
    return Difference(value, error, value - margin, value + margin, paired, images)
