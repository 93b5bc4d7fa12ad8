"""What an evaluation tells while it goes: its stages, on stderr."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pinxit.data.progress import say

Told = Callable[[int, int], None]  # done, in all

LONG = 15.0  # seconds: a stage that is expected to take longer says so
EVERY = 30.0  # seconds between lines where stderr is no terminal


class Teller:
    """Says which stage goes on: a bar on a terminal, lines elsewhere, nothing when not `show`."""

    def __init__(self, show: bool = True) -> None:
        self.show = show
        self._bar: Any = None

    def __enter__(self) -> Teller:
        if self.show:
            self._bar = _bar()
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    @contextmanager
    def stage(self, what: str) -> Iterator[Told]:
        """A stage; what it yields is to be told how many are done, and of how many."""
        if self._bar is None:
            yield _Lines(what, self.show).told
            return
        task = self._bar.add_task(what, total=None)
        lines = _Lines(what, self.show, after_first=False)

        def told(done: int, total: int) -> None:
            self._bar.update(task, completed=done, total=total)
            lines.told(done, total)

        yield told
        self._bar.remove_task(task)


class _Lines:
    """The expected time once it is known and long; then, where there is no bar, how far it is."""

    def __init__(self, what: str, show: bool, after_first: bool = True) -> None:
        self.what, self.show, self.after_first = what, show, after_first
        self.begun = self.last = time.monotonic()
        self.said = False

    def told(self, done: int, total: int) -> None:
        now = time.monotonic()
        if not self.show or done >= total:
            return
        left = (now - self.begun) * (total - done) / done
        if not self.said and now - self.begun > 1.0:  # the first second holds warming up too
            self.said = True
            if left > LONG:
                say(f"{self.what}: {lasting(left)} to go")
            self.last = now
        elif self.said and self.after_first and now - self.last > EVERY:
            say(f"{self.what}: {done:,} of {total:,}, {lasting(left)} to go")
            self.last = now


def lasting(seconds: float) -> str:
    """`40 s` or `12 min`."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _bar() -> Any:
    """rich's progress where stderr is a terminal."""
    import sys

    if not sys.stderr.isatty():
        return None
    from rich import progress
    from rich.console import Console

    return progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
