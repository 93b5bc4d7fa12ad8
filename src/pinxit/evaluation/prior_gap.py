"""Which part of the distance of samples to images is the prior's, and which the decoder's.

Decoded z of the aggregate posterior (z ~ q(z|x) of training images) are what the samples of a
perfect prior would be. In the Frechet distance F to test images, above that of training images,

    F(prior) - F(train)  =  [F(prior) - F(q(z))]  +  [F(q(z)) - F(train)]
    gap of the samples       the prior's part         the decoder's part

Decoded means are compared with the images as they are: where pixels are sampled as black and white
in training, with their grey values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from pinxit.evaluation.estimates import Estimate, Groups
from pinxit.evaluation.frechet import (
    WIDE,
    fit_gaussian,
    frechet_distance,
    leave_out_gaussians,
)
from pinxit.evaluation.jackknife import assign_blocks, jackknife_estimate

NUM_BLOCKS = 20  # of the jackknife: the error is known to 15 %
MAX_FEATURES = WIDE

Features = Float[np.ndarray, "n features"]


@dataclass(frozen=True)
class PriorGap:
    """Frechet distances to test images, by where z comes from, and the prior's part of the gap."""

    distances: dict[str, Estimate]
    share: Estimate | None  # of the prior in the gap of the samples; None without a gap
    closed: dict[str, Estimate]  # of the gap of the samples, by a fitted prior; as a share


NUM_ERRORS = 2.0  # standard errors that a gap must exceed


def measure_gap(
    sets: Mapping[str, Features], test: Features, groups: Groups | None = None
) -> PriorGap:
    """Measure the distances of `prior`, `posterior`, `train` and fitted priors to test images.

    Errors are by the jackknife over blocks of all sets at once, which are independent; only
    `reconstructions` are of the test images themselves, row by row.
    """
    real_blocks = assign_blocks(len(test), groups, NUM_BLOCKS)
    num_blocks = int(real_blocks.max()) + 1
    value = {
        name: frechet_distance(fit_gaussian(f), fit_gaussian(test)) for name, f in sets.items()
    }
    real = list(leave_out_gaussians(test, real_blocks))
    replicates: dict[str, list[float]] = {}
    for seed, (name, features) in enumerate(sets.items(), 1):
        paired = name == "reconstructions" and len(features) == len(test)
        blocks = real_blocks if paired else assign_blocks(len(features), None, num_blocks, seed)
        sides = zip(leave_out_gaussians(features, blocks), real, strict=False)
        replicates[name] = [frechet_distance(a, b) for a, b in sides]
    distances = {name: jackknife_estimate(value[name], replicates[name]) for name in sets}
    return PriorGap(
        distances,
        _share(value, replicates, "posterior"),
        {
            name: share
            for name in sets
            if name not in ("prior", "posterior", "train", "reconstructions")
            and (share := _share(value, replicates, name)) is not None
        },
    )


def _share(
    value: Mapping[str, float], replicates: Mapping[str, list[float]], better: str
) -> Estimate | None:
    """(F(prior) - F(better)) / (F(prior) - F(train)); None where samples are as near as images.

    So they are where the denominator is within two standard errors of 0: the ratio is noise then.
    """
    if not {"prior", "train", better} <= value.keys():
        return None
    sides = zip(replicates["prior"], replicates["train"], strict=False)
    gap = jackknife_estimate(value["prior"] - value["train"], [a - b for a, b in sides])
    error = gap.error if math.isfinite(gap.error) else 0.0
    if gap.value <= NUM_ERRORS * error:
        return None

    def ratio(prior: float, other: float, floor: float) -> float:
        return (prior - other) / (prior - floor) if prior > floor else math.nan

    rows = zip(replicates["prior"], replicates[better], replicates["train"], strict=False)
    return jackknife_estimate(
        ratio(value["prior"], value[better], value["train"]), (ratio(*row) for row in rows)
    )
