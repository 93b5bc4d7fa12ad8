"""Samples of rows that stand for all: spread over labels, groups and the source's order."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from pinxit.data.images import Images


def sample_rows(
    images: Images, rows: Int[np.ndarray, " n"], max_rows: int, seed: int = 0
) -> Int[np.ndarray, " k"]:
    """Return at most `max_rows` of `rows`, in their order; all if they are not more.

    Systematic sampling: the rows are ordered by label, group and position and cut into equal
    intervals, and one row is drawn in each. So each label has its share of the sample, up to one
    row, in whatever order the source has its images; large groups have theirs. The same rows for
    the same seed.
    """
    if len(rows) <= max_rows:
        return rows
    keys = [np.arange(len(rows))]
    keys += [column[rows] for column in (images.groups, images.labels) if column is not None]
    ordered = np.lexsort(keys)
    edges = np.arange(max_rows + 1) * len(rows) // max_rows
    positions = np.random.default_rng(seed).integers(edges[:-1], edges[1:])
    return rows[np.sort(ordered[positions])]
