"""Find samples that are copies of training images.

A sample is suspect if its nearest training image is much nearer than its k-th nearest one: the
ratio test of Carlini 2023 (sec. 4.2). What ratio is small depends on the dimension of the data
around the sample. If D is that dimension and the density constant, the ratio r = d_1 / d_k has

    P(ratio < r) = 1 - (1 - r^D)^(k - 1),

which is taken as the sample's p-value. D is estimated from the ratios of the other distances
(Levina & Bickel 2004, eq. 8). A dense or a blurry sample, or many alike, are thus not suspect, but
a copy is, whatever the density around it. Test images, which cannot be copies, are the control.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from pinxit.data.images import Images
from pinxit.evaluation.estimates import Estimate, Groups, estimate_proportion

NUM_NEIGHBOURS = 50  # Carlini 2023
MIN_NEIGHBOURS = 4  # fewer give no dimension
MAX_P_VALUE = 1e-3  # of a suspect sample,
MAX_CONTROL_SHARE = 0.005  # or less, so that at most this share of the control is suspect
MIN_EXCESS = 0.01  # of suspect samples over suspect test images, to speak of memorisation
TINY = 1e-12
ROUNDING = 1e-4  # of the distance to the k-th: nearer is equal
QUERY_BATCH = 1_000  # images whose distances to a part of the training images are in memory
TRAIN_PART = 20_000  # training images in such a part

Features = Float[np.ndarray, "n features"]
Distances = Float64[np.ndarray, "n k"]
PValues = Float64[np.ndarray, " n"]
Rows = Int[np.ndarray, " rows"]


class Interval(NamedTuple):
    """A 95 % interval."""

    low: float
    high: float


class Memorisation(NamedTuple):
    """Share of suspect samples, and of suspect test images."""

    samples: Estimate
    control: Estimate

    @property
    def excess(self) -> Interval:
        """The share of samples less that of test images."""
        difference = self.samples.value - self.control.value
        error = 1.96 * float(np.hypot(self.samples.error, self.control.error))
        return Interval(difference - error, difference + error)


def distinct_rows(images: Images, train_rows: Rows, test: Images) -> tuple[Rows, Rows]:
    """Return which training images have no equal, and which test images are no training images.

    Of equal training images the first one is returned; none that is a test image, too: a sample
    that equals it may be new to the model.
    """
    test_digests, train_digests = list(_digests(test, range(len(test)))), set[bytes]()
    seen, distinct = set(test_digests), []
    for row, digest in zip(train_rows, _digests(images, train_rows), strict=True):
        train_digests.add(digest)
        if digest not in seen:
            seen.add(digest)
            distinct.append(row)
    is_new = [digest not in train_digests for digest in test_digests]
    return np.array(distinct, np.int64), np.flatnonzero(is_new)


def _digests(images: Images, rows: Iterable[int]) -> Iterator[bytes]:
    return (blake2b(images.pixels[row].tobytes(), digest_size=16).digest() for row in rows)


def measure_memorisation(
    train: Features, control: Features, samples: Features, groups: Groups | None = None
) -> Memorisation | None:
    """Return the share of samples, and of test images, that are suspect of being copies.

    `train` are the features of all training images without duplicates, for example their
    `PixelComponents`; `control` those of test images that are not among them, with their `groups`.
    Equal samples count as one group. None for too few training or test images.
    """
    k = min(NUM_NEIGHBOURS, len(train) - 1)
    if k < MIN_NEIGHBOURS or not len(control) or not len(samples):
        return None
    expected, observed = (copy_p_values(train, rows, k) for rows in (control, samples))
    rank = math.ceil(MAX_CONTROL_SHARE * len(expected)) - 1
    threshold = min(MAX_P_VALUE, float(np.sort(expected)[rank]))
    _, equal = np.unique(samples, axis=0, return_inverse=True)
    return Memorisation(
        estimate_proportion(observed <= threshold, equal.ravel()),
        estimate_proportion(expected <= threshold, groups),
    )


def copy_p_values(train: Features, queries: Features, k: int) -> PValues:
    """Return the probability of a nearest training image as near as that of each query."""
    distances = nearest_distances(train, queries, k)
    radius = np.maximum(distances[:, -1:], TINY)
    log_ratio = np.log(np.maximum(distances / radius, TINY))
    # the nearest ones, which may be copies, do not count
    dimension = -1 / np.minimum(log_ratio[:, k // 5 : -1].mean(1), -TINY)
    log_volume = np.minimum(dimension * log_ratio[:, 0], -TINY)
    # of small volumes, too, which must not be rounded to 0: near copies are in many data sets
    p_values = -np.expm1((k - 1) * np.log1p(-np.exp(log_volume)))
    # where k training images are equal to the query, it is no copy of one of them
    equal_p_value = np.where(distances[:, -1] > TINY, 0.0, 1.0)
    return np.where(distances[:, 0] > ROUNDING * radius[:, 0], p_values, equal_p_value)


@torch.inference_mode()
def nearest_distances(train: Features, queries: Features, k: int) -> Distances:
    """Return the distances of each query to its k nearest training images, nearest first.

    Candidates are found by matrix products; their distances are then computed exactly, so that
    that of a copy is 0. Of the training images a part is searched at a time.
    """
    center = train.mean(0)
    rows, points = (torch.from_numpy(np.float32(x - center)) for x in (train, queries))
    parts = []
    for batch in points.split(QUERY_BATCH):
        nearest = _find_candidates(rows, batch, k)
        parts.append((batch[:, None] - rows[nearest]).square().sum(-1).sqrt().sort(1).values)
    return torch.cat(parts).double().numpy()


def _find_candidates(
    rows: Float[Tensor, "n features"], batch: Float[Tensor, "b features"], k: int
) -> Int[Tensor, "b k"]:
    """Return which rows are nearest to each point of a batch, up to rounding."""
    values = torch.empty(len(batch), 0)  # squared distances, less the square of the point
    indices = torch.empty(len(batch), 0, dtype=torch.int64)
    for start in range(0, len(rows), TRAIN_PART):
        part = rows[start : start + TRAIN_PART]
        found = torch.addmm(part.square().sum(1), batch, part.T, alpha=-2)
        found = found.topk(min(k, len(part)), largest=False)
        candidates = torch.cat([indices, found.indices + start], 1)
        values, best = torch.cat([values, found.values], 1).topk(
            min(k, candidates.shape[1]), largest=False
        )
        indices = candidates.gather(1, best)
    return indices
