"""What the files of a run say about its training, for a page.

A run may be a stranger's, or half written at this moment: what cannot be read is left out.
"""

from __future__ import annotations

import math
import re
import stat
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pinxit.console import format_number
from pinxit.data.typed_json import decode_json
from pinxit.errors import PinxitError
from pinxit.runs import Run
from pinxit.watch.metric_columns import MetricsRows, describe_column, select_loss_columns

MAX_POINTS = 500  # of a curve
MAX_CHARTS = 12
MAX_SHEETS = 200  # of a kind
MAX_LINES = 48  # of captions
MAX_CHARACTERS = 300  # of a text of the run
MAX_FILE_BYTES = 32 * 2**20
UNREADABLE = (PinxitError, OSError, ValueError, KeyError, TypeError, RecursionError)

SHEET_NAME = re.compile(r"([a-z]{1,20})-(\d{1,12})\.png")
SHEET_ORDER = ("step", "sample")  # the first kinds; then the others, by name
DEFAULT_TITLE = "preview"

Json = dict[str, Any]


@dataclass(frozen=True)
class Stage:
    """A model of a run that is trained by itself: the run's own, or one that it contains."""

    run: Run
    number: int  # from 1
    count: int

    @property
    def folder(self) -> Path:
        return self.run.path


def list_stages(run: Run) -> list[Stage]:
    """Return the stages of a run in the order of training."""
    component = _as_dict(_config(run).get("component")).get("folder")
    if not isinstance(component, str) or not re.fullmatch(r"[\w-]{1,64}", component):
        return [Stage(run, 1, 1)]
    folder = run.path / component
    if folder.is_symlink():
        return [Stage(run, 1, 1)]
    return [Stage(Run(folder), 1, 2), Stage(run, 2, 2)]


def file_signature(run: Run | None) -> tuple[object, ...]:
    """Return what changes when the files of a run's training do; cheap to call."""
    if run is None:
        return ()
    folders = [stage.folder for stage in list_stages(run)]
    names = ("config.json", "metrics.csv", "samples")
    return tuple(_stat(folder / name) for folder in folders for name in names)


def read_progress(run: Run, *, is_running: bool) -> Json:
    """Return the state of a run's training as JSON: its stages, curves, metrics and sheets.

    `is_running`: a process trains in the folder at this moment. Never raises for what is in it.
    """
    stages = list_stages(run)
    is_finished = _config(run).get("finished") is True
    records: list[Json] = []
    is_reached = True  # whether the stages before this one are finished
    for stage in stages:
        record = _read_stage(stage, is_running=is_running and is_reached, is_reached=is_reached)
        is_reached = record["status"] == "finished"
        records.append(record)
    status = "finished" if is_finished and not is_running else _combine(records, is_running)
    return {"run": run.name[:MAX_CHARACTERS], "status": status, "stages": records}


def version_of(*parts: object) -> str:
    """Return a text that differs for parts, such as a file signature, that differ."""
    return f"{zlib.crc32(repr(parts).encode('utf-8', 'replace')):08x}"


def read_sheet(run: Run, stage: int, name: str) -> bytes | None:
    """Return a PNG of the samples of a stage; None if there is no such file.

    Links to other folders are not followed.
    """
    stages = list_stages(run)
    if not (1 <= stage <= len(stages) and SHEET_NAME.fullmatch(name)):
        return None
    file = stages[stage - 1].folder / "samples" / name
    return _read_bytes(file)


# -- a stage ---------------------------------------------------------------------------------------


def _read_stage(stage: Stage, *, is_running: bool, is_reached: bool) -> Json:
    config, rows = _config(stage.run), _read_rows(stage.run)
    is_last = stage.number == stage.count
    is_pending = is_last and _as_dict(config.get("component")).get("pending") is True
    rows = [] if is_pending else rows
    last = rows[-1] if rows else {}
    unit, columns = _read_unit(config), select_loss_columns(rows)[:MAX_CHARTS]
    return {
        "number": stage.number,
        "count": stage.count,
        "family": _text(config.get("family")) or stage.folder.name[:MAX_CHARACTERS],
        "status": _stage_status(config, rows, is_running=is_running, is_reached=is_reached),
        "step": int(last.get("step", 0)),
        "images_seen": int(last.get("images_seen", 0)),
        "progress": min(1.0, max(0.0, last.get("progress", 0.0))),
        "seconds": last.get("seconds", 0.0),
        "seconds_left": _seconds_left(last),
        "updated": _modification_time(stage.folder / "metrics.csv") if rows else None,
        "unit": unit,
        "charts": _draw_charts(rows, columns, unit),
        "metrics": _describe_metrics(rows, columns, unit),
        "sheets": [] if is_pending else _list_sheets(stage.folder / "samples"),
        "captions": None if is_pending else _read_captions(stage.folder / "samples"),
    }


def _stage_status(config: Json, rows: MetricsRows, *, is_running: bool, is_reached: bool) -> str:
    if config.get("finished") is True:
        return "finished"
    if is_running:
        return "training" if rows else "preparing"
    return "stopped" if is_reached else "waiting"


def _combine(records: list[Json], is_running: bool) -> str:
    """Return the status of a run from those of its stages."""
    current = next((r["status"] for r in records if r["status"] != "finished"), "finished")
    if is_running and current == "finished":  # the next stage has not begun to write
        return "preparing"
    return current


def _seconds_left(row: dict[str, float]) -> float | None:
    """Return the time left at the speed so far; None while it is unknown."""
    progress, seconds = row.get("progress", 0.0), row.get("seconds", 0.0)
    if not 0 < progress <= 1 or seconds <= 0:
        return None
    return round(seconds * (1 - progress) / progress, 1)


def _read_unit(config: Json) -> str:
    trained = _as_dict(config.get("trained"))
    return _text(config.get("loss_unit")) or _text(trained.get("unit"))


def _describe_metrics(rows: MetricsRows, columns: list[str], unit: str) -> list[Json]:
    """Return the newest value of the loss and its parts, of training and validation images."""
    if any("bits_per_dim" in row for row in rows):
        columns = [*columns, "bits_per_dim"]
    metrics = []
    for name in columns:
        title, own_unit = describe_column(name)
        metrics.append(
            {
                "title": title[:MAX_CHARACTERS],
                "unit": unit if own_unit is None else own_unit,
                "training": _newest(rows, name),
                "validation": _newest(rows, f"val_{name}"),
            }
        )
    return metrics


def _newest(rows: MetricsRows, name: str) -> str:
    value = next((row[name] for row in reversed(rows) if name in row), None)
    return "" if value is None else format_number(value).replace("-", "−")


def _draw_charts(rows: MetricsRows, columns: list[str], unit: str) -> list[Json]:
    """Return the curves of the loss and its parts over the steps."""
    charts = []
    for name in columns:
        title, own_unit = describe_column(name)
        curves = [_curve(rows, name, "training"), _curve(rows, f"val_{name}", "validation")]
        record = {"title": title[:MAX_CHARACTERS], "unit": unit if own_unit is None else own_unit}
        if any(curve["x"] for curve in curves):
            charts.append({**record, "curves": [curve for curve in curves if curve["x"]]})
    return charts


def _curve(rows: MetricsRows, column: str, name: str) -> Json:
    """Return the points of a column, of long curves a part, with the last one."""
    points = [(row["step"], row[column]) for row in rows if "step" in row and column in row]
    stride = math.ceil(len(points) / MAX_POINTS)
    points = points[::-1][:: stride or 1][::-1]
    return {"name": name, "x": [x for x, _ in points], "y": [y for _, y in points]}


# -- files -----------------------------------------------------------------------------------------


def _list_sheets(folder: Path) -> list[Json]:
    """Return the kinds of images in `samples/`, each with its files, the newest one last."""
    files: dict[str, list[tuple[int, str]]] = {}
    try:
        names = [file.name for file in folder.iterdir()]
    except OSError:
        return []
    for name in names:
        if match := SHEET_NAME.fullmatch(name):
            files.setdefault(match[1], []).append((int(match[2]), name))
    titles = _read_titles(folder)
    order = [*SHEET_ORDER, *sorted(set(files) - set(SHEET_ORDER))]
    return [
        {
            "kind": kind,
            "title": titles.get(kind, DEFAULT_TITLE),
            "files": [{"step": s, "name": n} for s, n in sorted(files[kind])[-MAX_SHEETS:]],
        }
        for kind in order
        if kind in files
    ][:MAX_CHARTS]


def _read_titles(folder: Path) -> dict[str, str]:
    """Return what each kind of image shows, as training recorded it."""
    content = _read_bytes(folder / "titles.json")
    try:
        record = _as_dict(decode_json(content or b"{}"))
    except UNREADABLE:
        return {}
    return {kind: text for kind, value in record.items() if (text := _text(value))}


def _read_captions(folder: Path) -> Json | None:
    """Return the captions that the model generated, or else those of the sheet's columns."""
    try:
        generated = max((file.name for file in folder.glob("step-*.txt")), default=None)
    except OSError:
        return None
    title = "captions of the columns" if generated is None else "image, language, caption"
    text = (_read_bytes(folder / (generated or "captions.txt")) or b"").decode("utf-8", "replace")
    lines = [line.replace("\t", ", ")[:MAX_CHARACTERS] for line in text.splitlines()]
    return {"title": title, "lines": lines[:MAX_LINES]} if lines else None


def _read_rows(run: Run) -> MetricsRows:
    """Return the rows of metrics.csv; none if it is broken."""
    if _read_bytes(run.path / "metrics.csv") is None:
        return []
    try:
        rows = run.metrics()
    except UNREADABLE:
        return []
    finite = [{str(k): v for k, v in row.items() if math.isfinite(v)} for row in rows]
    return [row for row in finite if 0 <= row.get("step", -1) < 2**53]


def _read_bytes(file: Path) -> bytes | None:
    """Return a file of the run's own folder; None if it is none, too large or elsewhere."""
    try:
        status = file.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_FILE_BYTES:
            return None
        if file.parent.name == "samples" and file.parent.is_symlink():
            return None
        return file.read_bytes()
    except OSError:
        return None


def _config(run: Run) -> Json:
    """Return config.json as it is now; empty if it cannot be read."""
    content = _read_bytes(run.path / "config.json")
    try:
        return _as_dict(decode_json(content or b"{}"))
    except UNREADABLE:
        return {}


def _stat(file: Path) -> tuple[int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def _modification_time(file: Path) -> float | None:
    """Return the Unix time at which a file was written."""
    try:
        return file.stat().st_mtime
    except OSError:
        return None


def _as_dict(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value[:MAX_CHARACTERS] if isinstance(value, str) else ""
