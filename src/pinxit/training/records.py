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

from pinxit.data.captions import told_in_turn
from pinxit.data.files import write_atomically
from pinxit.data.images import Images
from pinxit.data.missing import block_of, by_ratio, shown_missing
from pinxit.models.contract import abilities
from pinxit.runs import Run

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


def draw(model: Any, run: Run, step: int, shown: Images, n: int = 36) -> Path | None:
    """Grids of what the model makes now: samples of seed 0, and reconstructions of `shown`.

    Of a model that only completes: `shown` with 3 patches in 4 missing, completed, and whole.
    """
    able, path = abilities(model), None
    if "reconstruct" in able and len(shown):
        pairs = Images.concatenate([shown, model.reconstruct(shown)])
        grid = pairs.grid(columns=len(shown))
        grid.save(run.path / "samples" / f"reconstruct-{step:07d}.png")
    if "complete" in able and "sample" not in able and len(shown):
        path = _completed(model, shown).save(run.path / "samples" / f"step-{step:07d}.png")
    worded = {"draw": _drawn, "edit": _edited, "caption": _told}
    for name in worded.keys() & set(able):
        path = worded[name](model, shown, run.path / "samples", f"step-{step:07d}")
    if "sample" in able:
        path = model.sample(n, seed=0).save(run.path / "samples" / f"step-{step:07d}.png")
    return path


def _drawn(model: Any, shown: Images, folder: Path, name: str) -> Path | None:
    """Two rows: what is drawn of captions, and the images that have them; the captions beside."""
    rows, texts = told_in_turn(shown, model.words.languages)
    some = shown.take(rows)
    if not texts:
        return None
    write_atomically(folder / "captions.txt", "\n".join(texts) + "\n")
    images = Images.concatenate([model.draw(texts, seed=0), some])
    return images.grid(columns=len(texts)).save(folder / f"{name}.png")


def _edited(model: Any, shown: Images, folder: Path, name: str) -> Path | None:
    """Three rows: before, edited, the truth; what was asked for beside."""
    rows, texts = told_in_turn(shown, model.words.languages)
    some = shown.take(rows)
    if not texts or some.before is None:
        return None
    write_atomically(folder / "captions.txt", "\n".join(texts) + "\n")
    before = Images(some.before)
    made = model.edit(before, texts, seed=0, temperature=0.0)
    rows = Images.concatenate([before, made, some])
    return rows.grid(columns=len(texts)).save(folder / f"{name}.png")


def _told(model: Any, shown: Images, folder: Path, name: str) -> Path:
    """What is said of the images in each language, as text."""
    lines = []
    for language in model.words.languages:
        for i, row in enumerate(model.caption(shown, language=language, beams=1)):
            lines.append(f"{shown.names[i] if len(shown.names) else i}\t{language}\t{row[0].text}")
    return write_atomically(folder / f"{name}.txt", "\n".join(lines) + "\n")


def _completed(model: Any, shown: Images, ratio: float = 0.75) -> Images:
    """Three rows: what is given, what is made of it, the truth."""
    missing = by_ratio(shown, ratio, block_of(model))
    made = model.complete(shown, missing, seed=0)
    rows = Images.concatenate([shown_missing(shown, missing), made, shown])
    return rows.grid(columns=len(shown))
