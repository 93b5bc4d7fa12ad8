"""Stop cleanly: the first Ctrl-C requests a stop, the second stops at once."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_callbacks: list[Callable[[], None]] = []  # of the sessions that train in this process


def can_stop() -> bool:
    """Return whether a session trains in this process, which `request_stop` would stop."""
    return bool(_callbacks)


def request_stop() -> bool:
    """Stop the training of this process as the first Ctrl-C does; return False if there is none."""
    for stop in tuple(_callbacks):
        stop()
    return can_stop()


@contextmanager
def stop_on_signal(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` on SIGINT, SIGTERM or `request_stop`.

    A second SIGINT raises KeyboardInterrupt as usual.
    """
    _callbacks.append(stop)
    try:
        with _handle_signals(stop):
            yield
    finally:
        _callbacks.remove(stop)


@contextmanager
def _handle_signals(stop: Callable[[], None]) -> Iterator[None]:
    def handle(number: int, frame: FrameType | None) -> None:
        stop()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    try:
        previous = {n: signal.signal(n, handle) for n in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not in the main thread, which handles signals
        yield
        return
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
