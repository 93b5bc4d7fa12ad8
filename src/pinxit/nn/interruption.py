"""Stop a model between two steps: loops over steps call `check_interrupted`.

A server sets what is called, for its own thread; elsewhere nothing is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class _State(threading.local):
    check: Callable[[], None] | None = None


_state = _State()


@contextmanager
def interruptible(check: Callable[[], None]) -> Iterator[None]:
    """Call `check` before each step of a model in this thread; it raises to stop the model."""
    previous, _state.check = _state.check, check
    try:
        yield
    finally:
        _state.check = previous


def check_interrupted() -> None:
    """Raise what the thread's check raises, if there is one."""
    if _state.check is not None:
        _state.check()
