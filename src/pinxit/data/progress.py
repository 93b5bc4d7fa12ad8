"""What is told while images are read: nothing where it is quick, a bar on a terminal, lines
elsewhere. All of it on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

QUICK = 1.0  # seconds that pass before anything is shown
EVERY = 10.0  # seconds between lines where stderr is no terminal


def say(text: str) -> None:
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
        if time.monotonic() - told > EVERY:
            say(f"{what}: {done:,} of {total:,}")
            told = time.monotonic()
        yield item


def _with_bar(items: Iterable[tuple[int, T]], total: int, what: str) -> Iterator[T]:
    begun, done = time.monotonic(), 0
    items = iter(items)
    for number, item in items:
        done += number
        yield item
        if time.monotonic() - begun > QUICK:
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
