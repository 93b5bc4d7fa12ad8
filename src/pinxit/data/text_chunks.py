"""Find chunks of text in scripts that write no spaces between words.

A chunk is a row of characters that are nearly always written together: one of a pair of neighbours
is followed, or preceded, by the other in most places. What stands between free choices, such as a
color after a shape, stays apart, so new combinations consist of the same chunks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise

COHESION = 0.75  # of a pair that is merged: share of one's places at which the other is beside it
MIN_COUNT = 2  # of a pair that is merged, in different texts
MAX_CHARACTERS = 60_000  # of evenly spaced texts, which bounds the time

Pair = tuple[str, str]


def find_chunks(texts: Sequence[str]) -> list[str]:
    """Return the chunks of different texts, of at least two characters, the most frequent first.

    Pairs are merged as in BPE (Sennrich 2015), but those that are bound most on both sides first,
    so that a chunk does not take a letter of its neighbour.

    >>> find_chunks(["abxy", "abzw", "cdxy", "cdzw"])
    ['ab', 'cd', 'xy', 'zw']
    """
    total = sum(map(len, texts))
    rows = [list(text) for text in texts[:: max(1, -(-total // MAX_CHARACTERS))]]
    while strongest := _strongest_pairs(rows):
        rows = [_merge(row, strongest) for row in rows]
    counts = Counter(chunk for row in rows for chunk in row if len(chunk) > 1)
    return sorted(counts, key=lambda chunk: (-counts[chunk], chunk))


def _strongest_pairs(rows: Sequence[Sequence[str]]) -> set[Pair]:
    """Return the pairs (a, b) with the largest min(P(b | a), P(a | b)) of those to merge."""
    counts = Counter(chunk for row in rows for chunk in row)
    pairs = Counter(pair for row in rows for pair in pairwise(row))
    binding = {
        (a, b): n / max(counts[a], counts[b])
        for (a, b), n in pairs.items()
        if n >= MIN_COUNT and n >= COHESION * min(counts[a], counts[b])
    }
    return _largest(binding)


def _largest(binding: Mapping[Pair, float]) -> set[Pair]:
    most = max(binding.values(), default=0)
    return {pair for pair, value in binding.items() if value == most}


def _merge(row: Sequence[str], pairs: set[Pair]) -> list[str]:
    """Merge pairs from left to right."""
    merged: list[str] = []
    for chunk in row:
        if merged and (merged[-1], chunk) in pairs:
            merged[-1] += chunk
        else:
            merged.append(chunk)
    return merged
