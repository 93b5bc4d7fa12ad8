"""What changes over a budget: its progress, the learning rate, the order of images."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass
class Clock:
    """Seconds of training over all sessions; a session begins where the last checkpoint ended."""

    before: float = 0.0

    def __post_init__(self) -> None:
        self.start = time.perf_counter()

    @property
    def seconds(self) -> float:
        return self.before + time.perf_counter() - self.start


def learning_rate(highest: float, step: int, warmup: int, progress: float) -> float:
    """A linear rise over `warmup` steps or a tenth of the budget, whichever is sooner over, times
    half a cosine over the budget (Loshchilov 2016)."""
    rise = min(1.0, max((step + 1) / warmup, 10 * progress)) if warmup else 1.0
    return highest * rise * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def ema_decay_at(longest: float, step: int) -> float:
    """The running average's decay: short at first, so that it does not remember the beginning."""
    return min(longest, (1 + step) / (10 + step))


def batch_order(n: int, batch: int, seed: int, step: int) -> Iterator[np.ndarray]:
    """Row numbers of each batch from `step` on, without end: a function of (seed, step) alone.

    Every epoch is a permutation of all n; a batch may take the end of one and begin the next.
    """
    epoch, offset = divmod(step * batch, n)
    rows = _permutation(n, seed, epoch)
    while True:
        parts, missing = [], batch
        while missing:
            taken = rows[offset : offset + missing]
            parts.append(taken)
            missing -= len(taken)
            offset += len(taken)
            if offset == n:
                epoch, offset = epoch + 1, 0
                rows = _permutation(n, seed, epoch)
        yield np.concatenate(parts)


def _permutation(n: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(n)
