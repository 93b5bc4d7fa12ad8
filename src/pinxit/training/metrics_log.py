"""What a training leaves behind as it goes: metrics.csv, TensorBoard, sample grids."""

# pyright: reportAttributeAccessIssue=false
# (protobuf makes its classes at run time)

from __future__ import annotations

import csv
import io
import math
import time
from pathlib import Path
from typing import Any

from pinxit.data.atomic_write import write_atomically

FIRST = ["step", "images", "seconds", "progress", "learning_rate", "grad_norm", "skipped"]


class Metrics:
    """metrics.csv, a row a report; columns are what the first rows have, in the order they came."""

    def __init__(self, file: Path, upto: int = 0) -> None:
        self.file = file
        rows = _rows(file, upto)
        self.columns = list(rows[0]) if rows else []
        if file.is_file():
            write_atomically(file, self._text(rows, header=True) if rows else "")

    def add(self, row: dict[str, float]) -> None:
        """Append a row. A new column has the file written anew, whole."""
        new = [name for name in row if name not in self.columns]
        if new:
            rows = _rows(self.file, math.inf)
            self.columns += new
            write_atomically(self.file, self._text([*rows, row], header=True))
            return
        with self.file.open("a") as file:
            file.write(self._text([row], header=False))

    def _text(self, rows: list[dict[str, Any]], header: bool) -> str:
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, lineterminator="\n", restval="")
        if header:
            writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()


def _rows(file: Path, upto: float) -> list[dict[str, str]]:
    """Complete rows up to a step; a line that a kill cut short is dropped."""
    if not file.is_file():
        return []
    whole = file.read_text().rpartition("\n")[0]
    rows = list(csv.DictReader(io.StringIO(whole)))
    return [row for row in rows if row.get("step") and int(float(row["step"])) <= upto]


class EventFile:
    """Scalars for TensorBoard, by its own writer: torch's takes seconds to import.

    `step` is where the session begins: events after it, of a session before, are forgotten.
    """

    def __init__(self, folder: Path, step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self.writer, self.event = EventFileWriter(str(folder)), Event
        if step:  # what an earlier session wrote beyond its last checkpoint does not count
            purge = SessionLog(status=SessionLog.START)
            self.writer.add_event(Event(wall_time=time.time(), step=step + 1, session_log=purge))

    def add(self, row: dict[str, float], step: int) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=name, simple_value=value) for name, value in row.items()]
        event = self.event(wall_time=time.time(), step=step, summary=Summary(value=values))
        self.writer.add_event(event)

    def close(self) -> None:
        self.writer.close()
