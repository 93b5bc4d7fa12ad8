"""Estimates from a sample of images: a value and its standard error.

Errors are over images, and over groups of images where there are groups (bursts, frames of a
video, variants of one emoji): images of a group are not independent. Test images are a sample of
the images that could have been tested; the error says how far another sample would have differed.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64

from pinxit.data.images import Images

REPLICATES = 200  # of a bootstrap: the error is then known to 5 %

PerImage = Float[np.ndarray, " n"] | Bool[np.ndarray, " n"]
Groups = Int64[np.ndarray, " n"]


@dataclass(frozen=True)
class Estimate:
    """A value, its standard error, and each image's part of it where the value is a mean."""

    value: float
    error: float  # NaN if unknown, for example from one image
    # values whose mean is the estimate and whose scatter is its error: two runs on the same
    # images are compared by them, image by image
    per_image: PerImage | None = None
    names: Sequence[str] = ()  # of the images of `per_image`


@dataclass(frozen=True)
class Curve:
    """Statistics in an order, such as one per latent, and the standard error of each."""

    values: Float64[np.ndarray, " k"]
    errors: Float64[np.ndarray, " k"]


# -- means -------------------------------------------------------------------------------------


def estimate_curve(values: Float[np.ndarray, "n k"], groups: Groups | None = None) -> Curve:
    """Return the mean over images of each column, with errors as of `estimate_mean`."""
    values = np.asarray(values, np.float64)
    mean = values.mean(0)
    return Curve(mean, column_errors(values - mean, groups))


def column_errors(
    residuals: Float64[np.ndarray, "n k"], groups: Groups | None = None
) -> Float64[np.ndarray, " k"]:
    """Return the standard error of the mean of each column; NaN for one image or group."""
    return np.array([_error_over_groups(column, groups) for column in residuals.T], np.float64)


def estimate_mean(values: PerImage, groups: Groups | None = None) -> Estimate:
    """Return the mean over images and its standard error, which is over groups if there are any.

    The cluster-robust error: with G groups and S_g the sum of (value - mean) over a group,
    var = G / (G - 1) sum_g S_g^2 / n^2; without groups s^2 / n. NaN for one group.
    """
    values = np.asarray(values, np.float64)
    mean = float(values.mean()) if len(values) else math.nan
    return Estimate(mean, _error_over_groups(values - mean, groups), values)


def _error_over_groups(residuals: Float64[np.ndarray, " n"], groups: Groups | None) -> float:
    sums = sum_by_group(residuals, groups)
    if len(sums) < 2:
        return math.nan
    variance = len(sums) / (len(sums) - 1) * np.square(sums).sum()
    return math.sqrt(variance) / len(residuals)


def sum_by_group(
    values: Float64[np.ndarray, "n ..."], groups: Groups | None
) -> Float64[np.ndarray, "groups ..."]:
    """Return the sum of each group's rows; the rows themselves without groups."""
    if groups is None:
        return values
    _, index = np.unique(groups, return_inverse=True)
    sums = np.zeros((index.max(initial=-1) + 1, *values.shape[1:]))
    np.add.at(sums, index, values)
    return sums


def estimate_over(images: Images, values: PerImage) -> Estimate:
    """Return the mean of one value per image, with the images' groups and names."""
    return dataclasses.replace(estimate_mean(values, images.groups), names=images.names)


def estimate_proportion(outcomes: PerImage, groups: Groups | None = None) -> Estimate:
    """Return the fraction of true outcomes and its standard error.

    At least the error with two successes and two failures added (Agresti 1998), so that it is
    not 0 if all outcomes are equal. With groups an added outcome weighs as much as a mean group.
    """
    estimate = estimate_mean(outcomes, groups)
    values = np.asarray(outcomes, np.float64)
    if len(values) < 2:
        return estimate
    weight = 1.0 if groups is None else len(values) / len(np.unique(groups))
    count = len(values) + 4 * weight
    p = (values.sum() + 2 * weight) / count
    added = 2 * weight**2 * ((1 - p) ** 2 + p**2)
    squares = np.square(sum_by_group(values - p, groups)).sum() + added
    error = math.sqrt(squares) / count
    return dataclasses.replace(estimate, error=float(np.fmax(estimate.error, error)))


def subtract_estimates(
    a: Estimate, b: Estimate, groups: Groups | None = None, *, proportions: bool = False
) -> Estimate:
    """Return a - b; its error is of the difference, image by image, if both have these.

    Otherwise the errors are those of independent samples. For proportions one image that differs
    in either direction is added (Agresti 2005): two that are equal may still not be the same.
    """
    difference = a.value - b.value
    if a.per_image is None or b.per_image is None:
        return Estimate(difference, math.hypot(a.error, b.error))
    values = np.asarray(a.per_image, np.float64) - np.asarray(b.per_image, np.float64)
    estimate = estimate_mean(values, groups)
    error = estimate.error
    if proportions and not math.isnan(error):
        weight = 1.0 if groups is None else len(values) / len(np.unique(groups))
        squares = np.square(sum_by_group(values - values.mean(), groups)).sum() + 2 * weight**2
        error = max(error, math.sqrt(squares) / (len(values) + 2 * weight))
    return Estimate(difference, error, values, a.names)


# -- other statistics --------------------------------------------------------------------------


def estimate_from_sums(
    statistic: Callable[[Float64[np.ndarray, "rows k"]], Float64[np.ndarray, " rows"]],
    sums: Float64[np.ndarray, "n k"],
    groups: Groups | None = None,
) -> Estimate:
    """Return a function of the sum of each image's numbers, its error by the jackknife.

    For ratios, corpus scores and the like. `statistic` takes rows of sums. `per_image` are the
    pseudo-values, centred on the estimate (Efron 1982): their mean is the estimate.
    """
    sums = np.asarray(sums, np.float64)
    n, total = len(sums), sums.sum(0)
    value = float(statistic(total[None])[0])
    if n < 2:
        return Estimate(value, math.nan)
    without = np.asarray(statistic(total - sums), np.float64)
    residuals = (n - 1) * (without.mean() - without)
    return Estimate(value, _error_over_groups(residuals, groups), value + residuals)


def bootstrap_rows(
    n: int, groups: Groups | None = None, *, replicates: int = REPLICATES, seed: int = 0
) -> Iterator[Int64[np.ndarray, " rows"]]:
    """Yield the rows of bootstrap samples: images, or whole groups, drawn with replacement."""
    rng = np.random.default_rng(seed)
    if groups is None:
        for _ in range(replicates):
            yield rng.integers(0, n, n)
        return
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    for _ in range(replicates):
        yield np.concatenate([members[i] for i in rng.integers(0, len(members), len(members))])


def bootstrap_weights(
    n: int, groups: Groups | None = None, *, replicates: int = REPLICATES, seed: int = 0
) -> Float64[np.ndarray, "replicates n"]:
    """Return how often each image is in each bootstrap sample of `bootstrap_rows`.

    A mean over a sample is a weighted mean: all replicates are one matrix product.
    """
    rows = bootstrap_rows(n, groups, replicates=replicates, seed=seed)
    return np.stack([np.bincount(sample, minlength=n) for sample in rows]).astype(np.float64)


def bootstrap_error(replicates: Sequence[float] | np.ndarray, num_groups: int) -> float:
    """Return the standard error that replicates of a statistic give; NaN for one group.

    A bootstrap's variance is too small by (G - 1) / G for G images or groups.
    """
    finite = np.asarray(replicates, np.float64)
    finite = finite[np.isfinite(finite)]
    if num_groups < 2 or len(finite) < 2:
        return math.nan
    return float(finite.std(ddof=1) * math.sqrt(num_groups / (num_groups - 1)))


def bootstrap_estimate(
    statistic: Callable[[Int64[np.ndarray, " rows"]], float],
    n: int,
    groups: Groups | None = None,
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Estimate:
    """Return `statistic(rows)` of all rows below `n`, and its error by the bootstrap (Efron 1979).

    Whole groups are resampled if there are any.
    """
    samples = bootstrap_rows(n, groups, replicates=replicates, seed=seed)
    num_groups = n if groups is None else len(np.unique(groups))
    value = float(statistic(np.arange(n)))
    if num_groups < 2:
        return Estimate(value, math.nan)
    return Estimate(value, bootstrap_error([statistic(rows) for rows in samples], num_groups))
