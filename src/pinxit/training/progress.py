"""How training tells of itself: a live line in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

from pinxit.console import format_duration
from pinxit.training.loop import Step

PLAIN_SECONDS = 10.0  # between plain lines


class Progress:
    """Parts of the loss, images per second and time left, on standard error."""

    def __init__(self, batch: int, quiet: bool = False) -> None:
        self.batch, self.quiet = batch, quiet
        self.start = self.told = time.perf_counter()
        self.first: tuple[float, int] | None = None  # progress and step where this session began
        self.live: Any = None
        if sys.stderr.isatty() and not quiet:
            from rich.console import Console
            from rich.status import Status

            self.live = Status("starting", console=Console(stderr=True))
            self.live.start()

    def step(self, step: Step, validation: float | None) -> None:
        """Tell of a step, seldom enough to cost nothing."""
        if self.first is None:
            self.first = (step.progress, step.number)
        now = time.perf_counter()
        if self.quiet or now - self.told < (0.2 if self.live else PLAIN_SECONDS):
            return
        self.told = now
        line = self._line(step, now - self.start, validation)
        if self.live:
            self.live.update(line)
        else:
            self.say(line)

    def _line(self, step: Step, seconds: float, validation: float | None) -> str:
        assert self.first
        gone = step.progress - self.first[0]
        left = format_duration(seconds * max(0.0, 1 - step.progress) / gone) if gone > 0 else "?"
        speed = (step.number - self.first[1]) * self.batch / seconds
        parts = "  ".join(f"{name} {float(value):.4g}" for name, value in step.parts.items())
        valid = "" if validation is None else f"  validation {validation:.4g}"
        skipped = "  (not finite: skipped)" if step.skipped else ""
        return (
            f"{step.progress:4.0%}  step {step.number:,}  {parts}{valid} {step.unit}  "
            f"{speed:,.0f} images/s  {left} left{skipped}"
        )

    def say(self, line: str) -> None:
        """A line that stays."""
        if self.live:
            self.live.console.print(line, markup=False, highlight=False)
        elif not self.quiet:
            print(line, file=sys.stderr, flush=True)

    def end(self, step: Step, trained: Mapping[str, Any]) -> None:
        """The last line: what was done, in how long, and how well."""
        best = trained["best_validation_loss"]
        kept = "" if best is None else f"; best validation {best:.5g}"
        value = f"loss {float(step.loss):.5g}{kept} {step.unit}"
        self.say(f"{step.number:,} steps in {format_duration(trained['seconds'])}: {value}")

    def stop(self) -> None:
        if self.live:
            self.live.stop()
            self.live = None
