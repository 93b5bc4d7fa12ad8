"""Learning rate, EMA decay, order of the images and clock, against closed forms."""

from __future__ import annotations

import itertools
import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinxit.training.schedule import (
    EMA_DENSE_STEPS,
    EMA_INTERVAL,
    Clock,
    batch_order,
    ema_decay_after,
    ema_decay_at,
    learning_rate,
)


def test_learning_rate_is_linear_warmup_then_cosine_decay():
    rates = [learning_rate(1e-2, step, 10, 0.0) for step in range(10)]
    assert rates == pytest.approx([1e-3 * (step + 1) for step in range(10)])
    for progress in (0.0, 0.25, 0.5, 0.9, 1.0):
        expected = 1e-2 * math.cos(math.pi * progress / 2) ** 2  # by the half-angle formula
        assert learning_rate(1e-2, 500, 10, progress) == pytest.approx(expected)
    assert learning_rate(1e-2, 0, 0, 0.0) == 1e-2
    assert learning_rate(1e-2, 500, 10, 1.3) == pytest.approx(0), "it stays 0 after the budget"


def test_ema_decay_is_low_at_first():
    assert ema_decay_at(0.999, 0) == 0.1
    assert ema_decay_at(0.999, 90) == 0.91
    assert ema_decay_at(0.999, 10**6) == 0.999
    assert ema_decay_at(0.0, 50) == 0, "no averaging"


@given(max_decay=st.floats(0, 0.9999), steps=st.integers(1, 1000))
@settings(max_examples=60)
def test_a_moving_average_of_some_steps_is_that_of_all(max_decay, steps):
    """Of weights that rise by 1 a step both are as far behind, up to the interval."""
    of_all = of_some = 0.0
    for step in range(steps):
        decay = ema_decay_at(max_decay, step)
        of_all = decay * of_all + (1 - decay) * (step + 1)
        updated = ema_decay_after(max_decay, step)
        assert step >= EMA_DENSE_STEPS or updated == decay
        if updated is not None:
            of_some = updated * of_some + (1 - updated) * (step + 1)
    assert of_some == pytest.approx(of_all, abs=EMA_INTERVAL)
    if max_decay == 0:
        assert of_some == steps, "no averaging"


@given(n=st.integers(1, 40), batch=st.integers(1, 60), seed=st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_every_epoch_has_each_image_exactly_once(n, batch, seed):
    steps = math.ceil(3 * n / batch)
    order = np.concatenate(list(itertools.islice(batch_order(n, batch, seed, 0), steps)))
    assert len(order) == steps * batch
    for epoch in range(3):
        assert sorted(order[epoch * n : (epoch + 1) * n]) == list(range(n))


@given(n=st.integers(1, 40), batch=st.integers(1, 60), step=st.integers(0, 30))
@settings(max_examples=60, deadline=None)
def test_order_from_a_later_step_continues_the_same_sequence(n, batch, step):
    whole = list(itertools.islice(batch_order(n, batch, 3, 0), step + 4))
    resumed = list(itertools.islice(batch_order(n, batch, 3, step), 4))
    assert all(np.array_equal(a, b) for a, b in zip(whole[step:], resumed, strict=True))


def test_epochs_and_seeds_have_different_orders():
    first, second = itertools.islice(batch_order(32, 32, 0, 0), 2)
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, next(batch_order(32, 32, 1, 0)))


def test_clock_adds_the_time_of_earlier_sessions():
    clock = Clock(elapsed_before=100.0)
    time.sleep(0.01)
    assert 100.01 <= clock.seconds < 110
