"""Select records before they are decoded: unique names, and the rows that `limit` keeps."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int8

from pinxit.data.edit_pairs import pair_key
from pinxit.data.load_options import LoadOptions
from pinxit.data.splits import TEST, TRAIN, VALIDATION, hash_fraction


def make_unique(names: Sequence[str]) -> list[str]:
    """Append `#2`, `#3`, ... to repeated names."""
    if len(set(names)) == len(names):
        return list(names)
    taken = set(names)
    counts: dict[str, int] = {}
    unique = []
    for name in names:
        number = counts.get(name, 0) + 1
        new = name
        while number > 1 and (new := f"{name}#{number}") in taken:
            number += 1
        counts[name] = number
        taken.add(new)
        unique.append(new)
    return unique


def select_rows(
    names: Sequence[str], splits: Int8[np.ndarray, " n"], options: LoadOptions
) -> list[int]:
    """Return all rows, or `limit` rows, in order.

    The first one of each split comes first, so that no split is empty, and then those whose names
    have the smallest hashes. A larger limit keeps the rows of a smaller one. Both images of a
    pair have the same hash.
    """
    if options.limit is None or options.limit >= len(names):
        return list(range(len(names)))
    hashes = [hash_fraction(pair_key(name), f"limit {options.seed}") for name in names]
    by_hash = sorted(range(len(names)), key=hashes.__getitem__)
    first = {}  # hash of the first image or pair of each split
    for row in by_hash:
        first.setdefault(int(splits[row]), hashes[row])
    in_order = [first[split] for split in (TRAIN, TEST, VALIDATION) if split in first]
    rank = {value: i for i, value in enumerate(in_order)}
    ordered = sorted(by_hash, key=lambda row: rank.get(hashes[row], len(rank)))
    return sorted(itertools.islice(ordered, options.limit))
