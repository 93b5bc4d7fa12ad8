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

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Float64
from torch import Tensor

from pinxit.data.images import Images
from pinxit.evaluation.estimates import Estimate, Groups, estimate_proportion

NUM_NEIGHBOURS = 50  # Carlini 2023
MIN_NEIGHBOURS = 4  # fewer give no dimension
MAX_P_VALUE = 1e-3  # of a suspect sample,
MAX_CONTROL_SHARE = 0.01  # or less, so that at most this share of the control is suspect
QUERY_BATCH = 1_000  # images whose distances to all training images are in memory

Features = Float[np.ndarray, "n features"]
Distances = Float64[np.ndarray, "n k"]
PValues = Float64[np.ndarray, " n"]


class Memorisation(NamedTuple):
    """Share of suspect samples, and of suspect test images."""

    samples: Estimate
    control: Estimate

    @property
    def excess(self) -> tuple[float, float]:
        """Lower and upper end of the 95 % interval of samples - control."""
        difference = self.samples.value - self.control.value
        error = 1.96 * float(np.hypot(self.samples.error, self.control.error))
        return difference - error, difference + error


def measure_memorisation(
    train: Features, control: Features, samples: Features, groups: Groups | None = None
) -> Memorisation | None:
    """Return the share of samples, and of test images, that are suspect of being copies.

    `train` are the features of all training images without duplicates, `control` those of test
    images that are not among them, `groups` the groups of these. Equal samples count as one group.
    None for too few training or test images.
    """
    k = min(NUM_NEIGHBOURS, len(train) - 1)
    if k < MIN_NEIGHBOURS or not len(control) or not len(samples):
        return None
    expected, observed = (copy_p_values(train, rows, k) for rows in (control, samples))
    threshold = min(MAX_P_VALUE, np.sort(expected)[int(MAX_CONTROL_SHARE * len(expected))])
    _, equal = np.unique(samples, axis=0, return_inverse=True)
    return Memorisation(
        estimate_proportion(observed <= threshold, equal.ravel()),
        estimate_proportion(expected <= threshold, groups),
    )


def copy_p_values(train: Features, queries: Features, k: int) -> PValues:
    """Return the probability of a nearest training image as near as that of each query."""
    distances = nearest_distances(train, queries, k)
    log_ratio = np.log(np.maximum(distances, 1e-30) / np.maximum(distances[:, -1:], 1e-30))
    inner = -log_ratio[:, k // 5 : -1].mean(1)  # the nearest, which may be a copy, not counted
    dimension = 1 / np.maximum(inner, 1e-9)
    return -np.expm1((k - 1) * np.log1p(-np.exp(dimension * log_ratio[:, 0]).clip(max=1 - 1e-12)))


@torch.inference_mode()
def nearest_distances(train: Features, queries: Features, k: int) -> Distances:
    """Return the distances of each query to its k nearest training images, nearest first.

    Candidates are found by matrix products; their distances are then computed exactly, so that
    that of a copy is 0.
    """
    center = train.mean(0)
    rows, points = (torch.from_numpy(np.float32(x - center)) for x in (train, queries))
    squares = rows.square().sum(1)
    parts = []
    for batch in points.split(QUERY_BATCH):
        nearest = torch.addmm(squares, batch, rows.T, alpha=-2).topk(k, largest=False).indices
        parts.append((batch[:, None] - rows[nearest]).square().sum(-1).sqrt().sort(1).values)
    return torch.cat(parts).double().numpy()
