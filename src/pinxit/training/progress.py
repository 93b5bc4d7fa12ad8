"""The progress line of training: live in a terminal, one line every 10 seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from pinxit.console import echo, format_duration, format_number
from pinxit.data.unicode_forms import escape_surrogates
from pinxit.training.loop import StepResult

LINE_SECONDS = 10.0  # between lines where stderr is not a terminal
REFRESH_SECONDS = 0.2  # between updates of the live line
MAX_COLUMNS = 80


class ProgressLine:
    """Loss, speed and remaining time, on standard error."""

    def __init__(self, batch_size: int, quiet: bool = False) -> None:
        self.batch_size, self.quiet = batch_size, quiet
        self.start_time = self.last_time = time.perf_counter()
        self.first_step: StepResult | None = None  # of this session
        self.live: Live | None = None
        if sys.stderr.isatty() and not quiet:
            console = Console(stderr=True)
            self.live = Live(Text("starting"), console=console, auto_refresh=False, transient=True)
            self.live.start()

    def update(self, step: StepResult, val_loss: float | None = None) -> None:
        """Report a step, unless the last report was a moment ago."""
        if self.first_step is None:
            self.first_step = step
        now = time.perf_counter()
        interval = REFRESH_SECONDS if self.live else LINE_SECONDS
        if self.quiet or now - self.last_time < interval:
            return
        self.last_time = now
        line = self._format(step, now - self.start_time, val_loss)
        if self.live:
            width = self.live.console.width
            self.live.update(Text(line[:width], no_wrap=True), refresh=True)
        else:
            self.print(line)

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
        if self.live:
            self.live.console.print(escape_surrogates(line), markup=False, highlight=False)
        elif not self.quiet:
            echo(line)

    def finish(self, step: StepResult, trained: Mapping[str, Any]) -> None:
        """Print the last line: number of steps, duration and losses."""
        best = trained["best_validation_loss"]
        validation = "" if best is None else f", best validation loss {format_number(best)}"
        losses = f"loss {format_number(float(step.loss))}{validation} {step.unit}"
        self.print(f"{step.step:,} steps in {format_duration(trained['seconds'])}: {losses}")

    def close(self) -> None:
        if self.live:
            self.live.stop()
            self.live = None
