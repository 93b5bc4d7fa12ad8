"""Output to the terminal: progress bars, stages and durations on stderr, results on stdout.

Progress is shown by rich if stderr is a terminal, by a bar below the cell in a notebook, and as
plain lines otherwise.
"""

from __future__ import annotations

import json
import math
import os
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from pinxit.notebook import CellOutput, in_notebook

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.progress import Progress

T = TypeVar("T")

ProgressCallback = Callable[[int, int], None]  # (number done, total)

BAR_DELAY_SECONDS = 1.0  # shorter work shows no progress bar
CELL_SECONDS = 0.5  # between updates of a bar in a notebook
LINE_SECONDS = 10.0  # between lines of `track` if stderr is not a terminal
MAX_PLAIN_NUMBER = 1e9  # larger numbers are written with an exponent
ETA_DELAY_SECONDS = 1.0  # the first second includes warming up
LONG_STAGE_SECONDS = 15.0  # a stage expected to take longer prints its time left
STAGE_LINE_SECONDS = 30.0  # between lines of a stage if stderr is not a terminal


# -- text ------------------------------------------------------------------------------------------


def out(text: str) -> None:
    """Print a line to stdout. Characters that its encoding lacks are replaced by `?`."""
    _print(text, sys.stdout)


def echo(text: str) -> None:
    """Print a line to stderr; in a notebook to stdout, where it is not shown as an error.

    Characters that the encoding lacks are replaced by `?`.
    """
    _print(text, sys.stdout if in_notebook() else sys.stderr)


def is_first_process() -> bool:
    """Return whether no launcher says that this is a further process of one training."""
    rank = os.environ.get("RANK")
    if rank is None and int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        rank = os.environ.get("SLURM_PROCID")
    if rank is not None:
        return rank == "0"
    return all(os.environ.get(name, "0") == "0" for name in ("LOCAL_RANK", "NODE_RANK"))


def pluralize(count: int, noun: str) -> str:
    """`1 image`, `1,200 images`."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def echo_wrapped(text: str) -> None:
    """Print a line to stderr; in a terminal as several lines, broken between words."""
    if sys.stderr.isatty():
        from rich.console import Console  # imported when it is needed: rich takes 40 ms

        width = Console(stderr=True).width
        text = textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False)
    echo(text)


def out_json(record: Any) -> None:
    """Print a record as JSON to stdout; escaped to ASCII if its encoding lacks a character."""
    text = json.dumps(record, indent=2, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(record, indent=2)
    print(text)


def out_rich(*renderables: RenderableType) -> None:
    """Print rich's tables and texts to stdout, without markup or highlighting."""
    from rich.console import Console  # imported when it is needed: rich takes 40 ms

    console = Console(markup=False, highlight=False)
    with console.capture() as captured:
        console.print(*renderables, sep="\n")
    out(captured.get().rstrip("\n"))


def _print(text: str, stream: TextIO) -> None:
    encoding = stream.encoding or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding), file=stream)


MAX_DECIMALS = 7  # of a value with its error; smaller ones are written with an exponent


def format_number(value: float, digits: int = 4) -> str:
    """Format a loss or a metric to `digits` significant figures: `81.25`, `0.0123`, `1.5e-07`.

    Below a billion no whole digit is rounded away: `-67,881`.
    """
    if not math.isfinite(value):
        return str(value)
    if isinstance(value, int) or (value == int(value) and abs(value) < MAX_PLAIN_NUMBER):
        return f"{int(value):,}"
    exponent = math.floor(math.log10(abs(value)))
    if abs(value) >= MAX_PLAIN_NUMBER or exponent < -4:
        return f"{value:.{digits - 1}e}"
    return f"{value:,.{max(0, digits - 1 - exponent)}f}"


def format_estimate(value: float, error: float | None, digits: int = 4) -> str:
    """`-99.52 ± 0.25`: a value with no more digits than its error supports.

    The error has two significant figures, and the value as many decimals. With an unknown error
    (None) or none (0) the value has `digits` significant figures.
    """
    if not error or not math.isfinite(error) or not math.isfinite(value):
        text = format_number(value, digits)
        return text if error is None or not math.isfinite(error) else f"{text} ± {error:g}"
    decimals = max(0, 1 - math.floor(math.log10(error)))
    if decimals > MAX_DECIMALS:
        exponent = math.floor(math.log10(max(abs(value), error)))
        return f"{value:.{max(0, decimals + exponent)}e} ± {error:.1e}"
    return f"{value:,.{decimals}f} ± {error:,.{decimals}f}"


def format_duration(seconds: float) -> str:
    """`4 s`, `1 min 5 s`, `5 min` or `2 h 10 min`."""
    seconds = max(0, round(seconds))
    minutes, hours = seconds // 60, seconds // 3600
    if hours:
        parts = ((hours, "h"), (minutes % 60, "min"))
    else:
        parts = ((minutes, "min"), (seconds % 60, "s"))
    return " ".join(f"{number} {unit}" for number, unit in parts if number) or "0 s"


# -- loading ---------------------------------------------------------------------------------------


def format_bytes(size: float) -> str:
    """Return a size in bytes as `700 B`, `1.5 MB` or `20 GB` (powers of 1,000)."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.3g} TB" if size < 999.5 else f"{size:,.0f} TB"


def track(items: Iterable[tuple[int, T]], total: int, label: str, show: bool) -> Iterator[T]:
    """Yield the items with a progress display, unless `show` is False.

    `items` are pairs (size, item); the sizes add up to `total`.
    """
    if not show:
        yield from (item for _, item in items)
    elif in_notebook():
        yield from _track_in_cell(items, total, label)
    elif sys.stderr.isatty():
        yield from _track_with_bar(items, total, label)
    else:
        yield from _track_with_lines(items, total, label)


def _track_with_lines(items: Iterable[tuple[int, T]], total: int, label: str) -> Iterator[T]:
    done, last_line = 0, time.monotonic()
    for size, item in items:
        done += size
        if time.monotonic() - last_line > LINE_SECONDS:
            echo(f"{label}: {done:,} of {total:,}")
            last_line = time.monotonic()
        yield item


def _track_in_cell(items: Iterable[tuple[int, T]], total: int, label: str) -> Iterator[T]:
    output, done, last = CellOutput(), 0, time.monotonic()
    for size, item in items:
        done += size
        if time.monotonic() - last > CELL_SECONDS:
            output.show_progress(f"{label}: {done:,} of {total:,}", done / max(1, total))
            last = time.monotonic()
        yield item
    output.clear()


def _track_with_bar(items: Iterable[tuple[int, T]], total: int, label: str) -> Iterator[T]:
    start, done = time.monotonic(), 0
    items = iter(items)
    for size, item in items:
        done += size
        yield item
        if time.monotonic() - start > BAR_DELAY_SECONDS:
            break
    else:
        return
    with _progress_bar() as bar:
        task = bar.add_task(label, total=total, completed=done)
        for size, item in items:
            bar.advance(task, size)
            yield item


# -- stages ----------------------------------------------------------------------------------------


class StageProgress:
    """Shows the current stage, unless `show` is False: a bar on a terminal, lines otherwise."""

    def __init__(self, show: bool = True) -> None:
        self.show = show
        self._bar: Progress | None = None
        self._cell = CellOutput() if show and in_notebook() else None

    def __enter__(self) -> StageProgress:
        if self.show and self._cell is None and sys.stderr.isatty():
            self._bar = _progress_bar()
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
        if self._cell is not None:
            self._cell.clear()

    @contextmanager
    def stage(self, label: str) -> Iterator[ProgressCallback]:
        """Start a stage, and yield its progress callback."""
        if self._cell is not None:
            yield _CellProgress(self._cell, label).update
            return
        lines = _EtaLines(label, self.show, repeat=self._bar is None)
        if self._bar is None:
            yield lines.update
            return
        bar, task = self._bar, self._bar.add_task(label, total=None)

        def update(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)
            lines.update(done, total)

        yield update
        bar.remove_task(task)


class _CellProgress:
    """Shows a stage by a bar in a notebook."""

    def __init__(self, cell: CellOutput, label: str) -> None:
        self.cell, self.label = cell, label
        self.start = self.last = time.monotonic()
        cell.show_progress(label, None)

    def update(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self.last < CELL_SECONDS or not done:
            return
        self.last = now
        left = format_duration((now - self.start) * (total - done) / done)
        label = f"{self.label}: {done:,} of {total:,}, {left} left"
        self.cell.show_progress(label, done / max(1, total))


class _EtaLines:
    """Prints the time left of a long stage once it can be estimated; then again with `repeat`."""

    def __init__(self, label: str, show: bool, repeat: bool) -> None:
        self.label, self.show, self.repeat = label, show, repeat
        self.start = self.last_line = time.monotonic()
        self.estimated = False

    def update(self, done: int, total: int) -> None:
        now = time.monotonic()
        if not self.show or done >= total:
            return
        left = (now - self.start) * (total - done) / done
        if not self.estimated and now - self.start > ETA_DELAY_SECONDS:
            self.estimated = True
            if left > LONG_STAGE_SECONDS:
                echo(f"{self.label}: {format_duration(left)} left")
            self.last_line = now
        elif self.estimated and self.repeat and now - self.last_line > STAGE_LINE_SECONDS:
            echo(f"{self.label}: {done:,} of {total:,}, {format_duration(left)} left")
            self.last_line = now


def _progress_bar() -> Progress:
    from rich import progress  # imported when a bar is shown: rich takes 40 ms
    from rich.console import Console

    return progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
