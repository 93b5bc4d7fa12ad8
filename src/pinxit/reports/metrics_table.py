"""The evaluation's figures, the settings, and how to make the run again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pinxit.evaluation.metrics import get_metric, group_metrics
from pinxit.reports.context import Material
from pinxit.reports.formatting import number, plain, value
from pinxit.reports.sections import Section

SETTINGS = {
    "model": "The model",
    "training": "Training",
    "trained": "What it took",
    "data": "The data",
    "versions": "Versions",
}
BETTER = {"higher": "higher is better", "lower": "lower is better", "near 1": "best near 1", "": ""}


@dataclass(frozen=True)
class Row:
    """One figure of the evaluation's table."""

    group: str  # empty where it is that of the row above
    name: str
    value: str
    error: str
    unit: str
    better: str


def judged(material: Material) -> Section | None:
    """The table of `pinxit evaluate`, with its warnings and its protocol."""
    figures = material.figures
    if not figures:
        return None
    values = {
        "rows": [
            row for group, names in group_metrics(figures) for row in _rows(group, names, figures)
        ],
        "warnings": list(material.evaluation.get("warnings") or []),
        "protocol": table_rows(material.evaluation.get("protocol") or {}),
    }
    return Section("judged", "How good it is", values)


def _rows(group: str, names: list[str], figures: Mapping[str, float]) -> list[Row]:
    rows = []
    for name in names:
        known, error = get_metric(name), figures.get(f"{name}_error")
        margin = "" if error is None else f"± {number(error, 2)}"
        shown = group if name == names[0] else ""
        title = known.title if known.title != "the same" else rows[-1].name
        text = number(figures[name], 4 if abs(figures[name]) >= 10 else 3)
        rows.append(Row(shown, title, text, margin, known.unit, BETTER[known.better]))
    return rows


def repeated(material: Material) -> Section:
    """The command, and every setting that config.json holds."""
    config = material.run.config
    tables = [
        (title, table_rows(config[key])) for key, title in SETTINGS.items() if config.get(key)
    ]
    return Section("repeated", "To make it again", {"command": _command(config), "tables": tables})


def _command(config: Mapping[str, Any]) -> str:
    """What was typed; where it was made from Python, the nearest command."""
    command = config.get("command")
    if command:
        return str(command) if isinstance(command, str) else " ".join(map(str, command))
    source = (config.get("data") or {}).get("source") or "DATA"
    return f"pinxit train {config['family']} {source}"


def table_rows(record: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    """A record as rows of name and text, inner records flattened."""
    rows: list[tuple[str, str]] = []
    for key, entry in record.items():
        name = f"{before}{plain(str(key))}"
        if isinstance(entry, Mapping):
            rows += table_rows(entry, f"{name}, ")
        else:
            rows.append((name, value(entry)))
    return rows
