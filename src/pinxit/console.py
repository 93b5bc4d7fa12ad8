"""Progress bars, stages and durations on stderr: one place for loading, training and evaluating."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar


def format_duration(seconds: float) -> str:
    """`4 s`, `1 min 05 s`, `2 h 10 min`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


T = TypeVar("T")

QUIET_SECONDS = 1.0  # seconds that pass before anything is shown

LINE_SECONDS = 10.0  # seconds between lines where stderr is no terminal


def echo(text: str) -> None:
    """One line on stderr; a name that is no Unicode is shown as well as can be."""
    encoding = sys.stderr.encoding or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding), file=sys.stderr)


def track(items: Iterable[tuple[int, T]], total: int, what: str, show: bool) -> Iterator[T]:
    """The items as they come, each with the number of things that it is, told as they pass."""
    if not show:
        yield from (item for _, item in items)
    elif sys.stderr.isatty():
        yield from _with_bar(items, total, what)
    else:
        yield from _with_lines(items, total, what)


def _with_lines(items: Iterable[tuple[int, T]], total: int, what: str) -> Iterator[T]:
    done, told = 0, time.monotonic()
    for number, item in items:
        done += number
        if time.monotonic() - told > LINE_SECONDS:
            echo(f"{what}: {done:,} of {total:,}")
            told = time.monotonic()
        yield item


def _with_bar(items: Iterable[tuple[int, T]], total: int, what: str) -> Iterator[T]:
    begun, done = time.monotonic(), 0
    items = iter(items)
    for number, item in items:
        done += number
        yield item
        if time.monotonic() - begun > QUIET_SECONDS:
            break
    else:
        return
    from rich import progress
    from rich.console import Console

    columns = [
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(),
    ]
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total, completed=done)
        for number, item in items:
            bar.advance(task, number)
            yield item


ProgressCallback = Callable[[int, int], None]  # done, in all

LONG_STAGE_SECONDS = 15.0  # seconds: a stage that is expected to take longer says so

STAGE_LINE_SECONDS = 30.0  # seconds between lines where stderr is no terminal


class StageProgress:
    """Says which stage goes on: a bar on a terminal, lines elsewhere, nothing when not `show`."""

    def __init__(self, show: bool = True) -> None:
        self.show = show
        self._bar: Any = None

    def __enter__(self) -> StageProgress:
        if self.show:
            self._bar = _bar()
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    @contextmanager
    def stage(self, what: str) -> Iterator[ProgressCallback]:
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
            if left > LONG_STAGE_SECONDS:
                echo(f"{self.what}: {format_duration_short(left)} to go")
            self.last = now
        elif self.said and self.after_first and now - self.last > STAGE_LINE_SECONDS:
            echo(f"{self.what}: {done:,} of {total:,}, {format_duration_short(left)} to go")
            self.last = now


def format_duration_short(seconds: float) -> str:
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
