"""How long the end of a training waits for its pages, on a clock of the test."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pinxit.watch import state
from pinxit.watch.state import GRACE_SECONDS, OPEN_SECONDS, QUIET_SECONDS, WatchedTraining

STEP = 0.05  # between two looks of the wait


class Clock:
    """Time that passes only while it is slept, and what happens at some of its moments."""

    def __init__(self) -> None:
        self.now = 100.0
        self.events: list[tuple[float, Callable[[], None]]] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        due = [event for event in self.events if event[0] <= self.now]
        self.events = [event for event in self.events if event[0] > self.now]
        for _, act in due:
            act()


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(state, "time", clock)
    return clock


def seconds_waited(training: WatchedTraining, clock: Clock) -> float:
    start = clock.now
    training.wait_for_pages()
    return clock.now - start


def test_without_an_open_page_nothing_waits(clock):
    training = WatchedTraining()
    assert seconds_waited(training, clock) == 0
    training.count_request(1)
    training.count_request(-1)
    clock.now += OPEN_SECONDS + 0.1
    assert seconds_waited(training, clock) == 0


@pytest.mark.parametrize("ago", [0.0, 1.0, OPEN_SECONDS - 0.1])
def test_a_page_between_two_requests_is_given_time_for_one(clock, ago):
    training = WatchedTraining()
    training.count_request(1)
    training.count_request(-1)
    clock.now += ago
    assert seconds_waited(training, clock) == pytest.approx(QUIET_SECONDS, abs=2 * STEP)


@pytest.mark.parametrize("after", [0.2, 1.0, 2.0])
def test_a_request_in_progress_is_waited_for(clock, after):
    training = WatchedTraining()
    training.count_request(1)
    clock.now += 10
    clock.events.append((clock.now + after, lambda: training.count_request(-1)))
    waited = seconds_waited(training, clock)
    assert waited == pytest.approx(after + QUIET_SECONDS, abs=3 * STEP)


def test_a_request_that_never_ends_is_given_up(clock):
    training = WatchedTraining()
    training.count_request(1)
    assert seconds_waited(training, clock) == pytest.approx(GRACE_SECONDS, abs=2 * STEP)
