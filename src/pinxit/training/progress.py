"""The progress of training: a bar that is updated in a terminal or a notebook, lines elsewhere."""

from __future__ import annotations

import html
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.text import Text

from pinxit.console import echo, format_duration, format_number
from pinxit.data.unicode_forms import escape_surrogates
from pinxit.notebook import CellOutput, in_notebook
from pinxit.training.loop import StepResult

LINE_SECONDS = 10.0  # between lines where stderr is not a terminal
REFRESH_SECONDS = 0.2  # between updates of the live line
CELL_SECONDS = 0.5  # between updates in a notebook
MAX_COLUMNS = 80
PREVIEWS = ("step", "sample", "reconstruct")  # files of `training.previews`, the best one first


class Display(Protocol):
    """Where progress is shown."""

    interval: float  # seconds between updates

    def show(self, line: str, progress: float) -> None: ...
    def show_samples(self, file: Path, title: str) -> None: ...
    def print(self, line: str) -> None: ...
    def close(self) -> None: ...


class Lines:
    """Plain lines on standard error."""

    interval = LINE_SECONDS

    def show(self, line: str, progress: float) -> None:
        echo(line)

    def show_samples(self, file: Path, title: str) -> None:
        """Samples are files only."""

    def print(self, line: str) -> None:
        echo(line)

    def close(self) -> None:
        """Lines stay."""


class TerminalBar:
    """A bar and a line below it, which disappear when training ends."""

    interval = REFRESH_SECONDS

    def __init__(self) -> None:
        console = Console(stderr=True)
        self.live = Live(Text("starting"), console=console, auto_refresh=False, transient=True)
        self.live.start()

    def show(self, line: str, progress: float) -> None:
        width = self.live.console.width
        bar = ProgressBar(1.0, progress, width=min(width, MAX_COLUMNS))
        self.live.update(Group(bar, Text(line[:width], no_wrap=True)), refresh=True)

    def show_samples(self, file: Path, title: str) -> None:
        """A terminal shows no image files."""

    def print(self, line: str) -> None:
        self.live.console.print(escape_surrogates(line), markup=False, highlight=False)

    def close(self) -> None:
        self.live.stop()


class NotebookBar:
    """A bar, the last samples below it, and lines that stay."""

    interval = CELL_SECONDS

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.text, self.bar, self.samples = CellOutput(), CellOutput(), CellOutput()
        self.bar.show_progress("starting", None)

    def show(self, line: str, progress: float) -> None:
        self.bar.show_progress(line, progress)

    def show_samples(self, file: Path, title: str) -> None:
        self.samples.show_image(file.read_bytes(), title)

    def print(self, line: str) -> None:
        self.lines.append(line)
        self.text.show("<br>".join(map(html.escape, self.lines)), "\n".join(self.lines))

    def close(self) -> None:
        self.bar.clear()


def choose_display() -> Display:
    if in_notebook():
        return NotebookBar()
    return TerminalBar() if sys.stderr.isatty() else Lines()


class ProgressLine:
    """Loss, speed and remaining time."""

    def __init__(self, batch_size: int, quiet: bool = False) -> None:
        self.batch_size = batch_size
        self.last_time = time.perf_counter()
        self.start_time: float | None = None  # at the end of the first step
        self.first_step: StepResult | None = None  # of this session
        self.display: Display | None = None if quiet else choose_display()

    def update(self, step: StepResult, val_loss: float | None = None) -> None:
        """Report a step, unless the last report was a moment ago."""
        now = time.perf_counter()
        if self.first_step is None or self.start_time is None:
            self.first_step, self.start_time = step, now
        if self.display is None or now - self.last_time < self.display.interval:
            return
        self.last_time = now
        line = self._format(step, now - self.start_time, val_loss)
        self.display.show(line, min(1.0, step.progress))

    def show_samples(self, folder: Path, step: int) -> None:
        """Show the newest image file of a step in the folder `samples/` of a run."""
        if self.display is None:
            return
        from pinxit.training.previews import name_preview

        for kind in PREVIEWS:
            file = folder / f"{kind}-{step:07d}.png"
            if file.is_file():
                self.display.show_samples(file, f"{name_preview(folder, kind)} at step {step:,}")
                return

    def _format(self, step: StepResult, seconds: float, val_loss: float | None) -> str:
        """Progress, losses, speed, remaining time; as many parts of the loss as fit 80 columns."""
        progress = min(1.0, step.progress)  # the last step may end after a budget of minutes
        loss = "not finite" if step.skipped else format_number(float(step.loss))
        head = [f"{progress:4.0%}", f"step {step.step:,}", f"loss {loss}"]
        if val_loss is not None:
            head.append(f"val {format_number(val_loss)}")
        tail = self._format_speed(step, seconds)
        parts: list[str] = []
        for name, value in step.parts.items():
            longer = [*parts, f"{name} {format_number(float(value))}"]
            if len("  ".join([*head, *longer, *tail])) > MAX_COLUMNS:
                break
            parts = longer
        return "  ".join([*head, *parts, *tail])

    def _format_speed(self, step: StepResult, seconds: float) -> list[str]:
        """Speed and remaining time; nothing before the second step, when neither is known."""
        assert self.first_step
        steps = step.step - self.first_step.step
        done = step.progress - self.first_step.progress
        if steps <= 0 or done <= 0:
            return []
        left = seconds * max(0.0, 1 - step.progress) / done
        speed = steps * self.batch_size / seconds
        return [f"{speed:,.0f} images/s", f"{format_duration(left)} left"]

    def print(self, line: str) -> None:
        """Print a line that stays."""
        if self.display is not None:
            self.display.print(line)

    def finish(self, step: StepResult, trained: Mapping[str, Any]) -> None:
        """Print the last line: number of steps, duration and losses."""
        best = trained["best_validation_loss"]
        validation = "" if best is None else f", best validation loss {format_number(best)}"
        losses = f"loss {format_number(float(step.loss))}{validation} {step.unit}"
        self.print(f"{step.step:,} steps in {format_duration(trained['seconds'])}: {losses}")

    def close(self) -> None:
        if self.display is not None:
            self.display.close()
            self.display = None
