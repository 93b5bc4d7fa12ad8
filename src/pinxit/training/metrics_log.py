"""The training curves on disk: metrics.csv and TensorBoard event files."""

# pyright: reportAttributeAccessIssue=false
# (protobuf creates its classes at run time)

from __future__ import annotations

import csv
import io
import math
import time
from pathlib import Path
from typing import Any

from pinxit.data.atomic_write import write_atomically
from pinxit.data.unicode_forms import escape_surrogates
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


class TensorBoardLog:
    """Scalars for TensorBoard, with its own writer: that of torch takes seconds to import.

    TensorBoard drops events after `start_step` that an earlier session wrote.
    """

    def __init__(self, folder: Path, start_step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self.writer, self.event = EventFileWriter(str(folder)), Event
        if start_step:
            purge = SessionLog(status=SessionLog.START)
            self.writer.add_event(
                Event(wall_time=time.time(), step=start_step + 1, session_log=purge)
            )

    @staticmethod
    def accepts(folder: Path) -> bool:
        """Return whether TensorBoard can write to a folder: its path must be valid Unicode."""
        return escape_surrogates(str(folder)) == str(folder)

    def append(self, row: dict[str, float], step: int) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=name, simple_value=value) for name, value in row.items()]
        event = self.event(wall_time=time.time(), step=step, summary=Summary(value=values))
        self.writer.add_event(event)

    def close(self) -> None:
        self.writer.close()
