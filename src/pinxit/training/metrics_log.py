"""The training curves on disk: metrics.csv."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import Any

from pinxit.data.atomic_write import write_atomically
from pinxit.training.loop import Counters, StepResult


class MetricsLog:
    """metrics.csv: a row per report; columns in the order in which they first appear.

    Rows after `last_step` are dropped: a killed session wrote them after its last checkpoint.
    """

    def __init__(self, file: Path, last_step: int = 0) -> None:
        self.file = file
        rows = _read_rows(file, last_step)
        self.columns = list(rows[0]) if rows else []
        if file.is_file():
            write_atomically(file, self._format(rows, header=True) if rows else "")

    def append(self, row: dict[str, float]) -> None:
        """Append a row; if it has a new column, rewrite the file."""
        new = [name for name in row if name not in self.columns]
        if new:
            rows = _read_rows(self.file, math.inf)
            self.columns += new
            write_atomically(self.file, self._format([*rows, row], header=True))
            return
        with self.file.open("a", encoding="utf-8") as file:
            file.write(self._format([row], header=False))

    def _format(self, rows: list[dict[str, Any]], header: bool) -> str:
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, lineterminator="\n", restval="")
        if header:
            writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()


def describe_step(
    step: StepResult,
    parts: dict[str, float],
    counters: Counters,
    batch_size: int,
    val_metrics: dict[str, float],
) -> dict[str, float]:
    """Return everything known about a step; values that are not finite are left out."""
    row = {
        "step": step.step,
        "images_seen": step.step * batch_size,
        "seconds": round(counters.seconds, 3),
        "progress": round(step.progress, 6),
        "learning_rate": step.learning_rate,
        "grad_norm": round(step.grad_norm, 4),
        "skipped": counters.skipped,
        "loss": round(float(step.loss), 5),
        **{name: round(value, 5) for name, value in parts.items()},
        **{f"val_{name}": round(value, 5) for name, value in val_metrics.items()},
    }
    return {name: value for name, value in row.items() if math.isfinite(value)}


def _read_rows(file: Path, last_step: float) -> list[dict[str, str]]:
    """Read the rows up to a step; drops an incomplete last line, of a killed session."""
    if not file.is_file():
        return []
    complete = file.read_text(encoding="utf-8").rpartition("\n")[0]
    rows = list(csv.DictReader(io.StringIO(complete)))
    return [row for row in rows if row.get("step") and int(float(row["step"])) <= last_step]
