"""Schedules over a training budget: time, learning rate, EMA decay, order of the images."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

EMA_INTERVAL, EMA_DENSE_STEPS = 4, 100  # steps between updates of the moving average, after these
MIN_LONG_DECAY = 0.99  # of a moving average that is so much longer than the interval


@dataclass
class Clock:
    """Seconds of training; a resumed session adds those of the sessions before it."""

    elapsed_before: float = 0.0

    def __post_init__(self) -> None:
        self.start = time.perf_counter()

    @property
    def seconds(self) -> float:
        return self.elapsed_before + time.perf_counter() - self.start

    def restart(self) -> float:
        """Count from now on, and return the seconds that this session took before."""
        now = time.perf_counter()
        before, self.start = now - self.start, now
        return before


def learning_rate(max_lr: float, step: int, warmup_steps: int, progress: float) -> float:
    """Return linear warmup times cosine decay to 0 over the budget (SGDR, Loshchilov 2016, eq. 5).

    Warmup lasts `warmup_steps` or a tenth of the budget, whichever ends first.
    """
    warmup = min(1.0, max((step + 1) / warmup_steps, 10 * progress)) if warmup_steps else 1.0
    return max_lr * warmup * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def ema_decay_at(max_decay: float, step: int) -> float:
    """Return the decay of the moving average: low at first, to forget the initial weights."""
    return min(max_decay, (1 + step) / (10 + step))


def ema_decay_after(max_decay: float, step: int) -> float | None:
    """Return the decay of the moving average's update after a step; None: there is none then.

    A long average is updated every `EMA_INTERVAL` steps once the first ones are over: it reads and
    writes all weights, which takes a twentieth of a small model's step.
    """
    decay = ema_decay_at(max_decay, step)
    if step < EMA_DENSE_STEPS or max_decay < MIN_LONG_DECAY:
        return decay
    return None if step % EMA_INTERVAL else decay**EMA_INTERVAL


def batch_order(n: int, batch_size: int, seed: int, step: int) -> Iterator[np.ndarray]:
    """Yield the row numbers of each batch from `step` on, endlessly, from (seed, step) alone.

    Every epoch is a permutation of all n rows; a batch may span two epochs.
    """
    epoch, offset = divmod(step * batch_size, n)
    order = _permutation(n, seed, epoch)
    while True:
        parts, missing = [], batch_size
        while missing:
            rows = order[offset : offset + missing]
            parts.append(rows)
            missing -= len(rows)
            offset += len(rows)
            if offset == n:
                epoch, offset = epoch + 1, 0
                order = _permutation(n, seed, epoch)
        yield np.concatenate(parts)


def _permutation(n: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(n)
