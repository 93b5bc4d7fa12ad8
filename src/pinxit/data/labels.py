"""Labels as sources give them, names or numbers, to class numbers and their names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pinxit.data.records import Record


def number_labels(records: Sequence[Record]) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Class number of each record, int64 `[n]` with -1 for none, and the classes' names.

    Labels that the source numbers keep their numbers (a class without images keeps its place)
    unless these are sparse. Others are numbered in the order of their names; names that are all
    numbers, in numerical order. (None, ()) where no record has a label.
    """
    found = {(r.rank, r.label) for r in records if r.label is not None or r.rank is not None}
    if not found:
        return None, ()
    if all(rank is not None for rank, _ in found):
        numbers, names = _by_rank({int(rank or 0): label for rank, label in found})
        labels = [numbers.get(r.rank, -1) if r.rank is not None else -1 for r in records]
    else:
        names = tuple(sorted({str(label) for _, label in found}, key=_natural))
        places = {name: i for i, name in enumerate(names)}
        labels = [-1 if r.label is None else places[r.label] for r in records]
    return np.array(labels, np.int64), names


def _by_rank(named: dict[int, str | None]) -> tuple[dict[int, int], tuple[str, ...]]:
    ranks = sorted(rank for rank in named if rank >= 0)  # a negative number means no label
    if not ranks:
        return {}, ()
    dense = ranks[-1] < 2 * len(ranks) + 10
    ranks = list(range(ranks[-1] + 1)) if dense else ranks
    names = tuple(named.get(rank) or str(rank) for rank in ranks)
    return {rank: i for i, rank in enumerate(ranks)}, names


def _natural(name: str) -> tuple[int, int, str]:
    return (0, int(name), name) if name.isdecimal() else (1, 0, name)
