"""The runs in a folder and below it, as a table."""

from __future__ import annotations

import dataclasses
import datetime
import html
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pinxit import console
from pinxit.data.typed_json import convert_json, decode_json
from pinxit.errors import PinxitError

if TYPE_CHECKING:
    from pinxit.runs import Run

DAMAGED = (ValueError, AttributeError, TypeError, LookupError, ArithmeticError)
MAX_DEPTH = 3  # levels of folders that are searched


@dataclass(frozen=True)
class RunSummary:
    """One row of the list."""

    path: str
    family: str | None = None
    data: str | None = None
    created: str | None = None  # ISO 8601
    steps: int | None = None
    seconds: float | None = None  # of training, all sessions included
    score: float | None = None
    score_name: str | None = None
    unit: str | None = None
    finished: bool = False
    evaluated: bool = False
    error: str | None = None  # why the run cannot be read


class RunList(list[RunSummary]):
    """Runs; shows itself as a table."""

    def __str__(self) -> str:
        return "\n".join(_table(self))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f'<pre style="line-height: 1.3">{html.escape(str(self))}</pre>'


def list_runs(folder: str | Path = "runs") -> RunList:
    """Return the runs in a folder and below it, the newest first; none if it does not exist."""
    summaries = [summarize(path) for path in find_runs(Path(folder))]
    return RunList(sorted(summaries, key=lambda s: (s.created or "", s.path), reverse=True))


def find_runs(folder: Path, depth: int = MAX_DEPTH) -> Iterator[Path]:
    """Yield the run folders in a folder and below it; the folder itself if it is a run."""
    if is_run(folder):
        yield folder
        return
    try:
        children = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
    except OSError:
        return
    for name in children:
        if depth and not name.startswith("."):
            yield from find_runs(folder / name, depth - 1)


def is_run(folder: Path) -> bool:
    """Return whether a folder is a run, perhaps with a damaged config.json."""
    file = folder / "config.json"
    if not file.is_file():
        return False
    try:
        record = decode_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return (folder / "model.safetensors").exists() or (folder / "metrics.csv").exists()
    return isinstance(record, dict) and "family" in record


def summarize(path: Path) -> RunSummary:
    """Return the row of a run; if the run cannot be read, a row with the reason."""
    from pinxit.runs import Run

    run = Run(path)
    try:
        config = run.config
        trained = config.get("trained") or _read_progress(run)
        score_name, score, unit = _score(run, trained)
        summary = RunSummary(
            path=str(path),
            family=run.family,
            data=(config.get("data") or {}).get("source"),
            created=_read_time(config.get("created")) or _last_change(path),
            steps=trained.get("steps"),
            seconds=trained.get("seconds"),
            score=score,
            score_name=score_name,
            unit=unit,
            finished=bool(config.get("finished")),
            evaluated=bool(run.evaluation()),
        )
        # one value of another type would end the table of all runs
        return convert_json(dataclasses.asdict(summary), RunSummary, f"{path}/config.json")
    except (PinxitError, OSError, *DAMAGED) as error:
        text = str(error) if isinstance(error, PinxitError) else f"config.json: {error}"
        return RunSummary(str(path), created=_last_change(path), error=text)


def _read_progress(run: Run) -> dict[str, Any]:
    """Return steps, seconds and the best validation loss from metrics.csv, for unfinished runs."""
    rows = run.metrics()
    if not rows:
        return {}
    losses = [row["val_loss"] for row in rows if "val_loss" in row]
    best = {"best_validation_loss": min(losses)} if losses else {}
    return {"steps": int(rows[-1]["step"]), "seconds": rows[-1].get("seconds"), **best}


def _score(run: Run, trained: Mapping[str, Any]) -> tuple[str | None, float | None, str | None]:
    """Return name, value and unit of the score of a run."""
    metrics = run.evaluation().get("metrics") or {}
    if metrics:
        from pinxit.evaluation.metrics import METRICS, get_metric

        ranked = [name for name, metric in METRICS.items() if metric.better and name != "iw_gain"]
        named = {name.partition(":")[0]: name for name in reversed(metrics)}
        name = next((named[name] for name in ranked if name in named), None)
        if name is not None:
            return name, metrics[name], get_metric(name).unit
    loss = trained.get("best_validation_loss")
    if loss is None:
        return None, None, None
    return "validation loss", loss, trained.get("unit")


def _read_time(text: Any) -> str | None:
    """Return a time as ISO 8601 in UTC; None if it is none."""
    try:
        time = datetime.datetime.fromisoformat(text)
        known = time if time.tzinfo else time.replace(tzinfo=datetime.UTC)
        return known.astimezone(datetime.UTC).isoformat(timespec="seconds")
    except (ValueError, TypeError, OverflowError):
        return None


def _last_change(path: Path) -> str | None:
    try:
        time = (path / "config.json").stat().st_mtime
        return datetime.datetime.fromtimestamp(time, datetime.UTC).isoformat(timespec="seconds")
    except (OSError, ValueError, OverflowError):  # removed meanwhile, or no time that a clock has
        return None


# -- the table -------------------------------------------------------------------------------------


def _table(summaries: Sequence[RunSummary]) -> Iterator[str]:
    now = datetime.datetime.now(datetime.UTC)
    rows = [("RUN", "FAMILY", "DATA", "AGE", "TRAINED", "SCORE")]
    rows += [_row(summary, now) for summary in summaries]
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    for row, summary in zip(rows, [None, *summaries], strict=True):
        if summary is not None and summary.error is not None:
            yield f"{row[0]:<{widths[0]}}  cannot be read: {summary.error}"
            continue
        cells = [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)]
        yield "  ".join([*cells, row[5]]).rstrip()


def _row(summary: RunSummary, now: datetime.datetime) -> tuple[str, ...]:
    if summary.error is not None:
        return summary.path, "", "", "", "", ""
    steps = "" if summary.steps is None else f"{summary.steps:,} steps"
    state = "" if summary.finished else ", unfinished"
    return (
        summary.path,
        summary.family or "",
        _shorten(summary.data or ""),
        _age(summary.created, now),
        (steps or "not yet") + state,
        _score_text(summary),
    )


def _score_text(summary: RunSummary) -> str:
    if summary.score is None:
        return ""
    unit = (summary.unit or "").replace("nats per image", "nats")
    return f"{_score_title(summary)} {console.format_number(summary.score)} {unit}".strip()


def _score_title(summary: RunSummary) -> str:
    from pinxit.evaluation.metrics import METRICS

    metric = METRICS.get(summary.score_name or "")
    return metric.title if metric else "loss"


def _age(created: str | None, now: datetime.datetime) -> str:
    """`5 min`, `3 h`, `12 days`."""
    if created is None:
        return ""
    seconds = max(0.0, (now - datetime.datetime.fromisoformat(created)).total_seconds())
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.0f} days"


def _shorten(text: str, width: int = 18) -> str:
    return text if len(text) <= width else f"...{text[3 - width :]}"
