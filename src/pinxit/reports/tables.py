"""The evaluation's figures, the settings, and how to make the run again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pinxit.reports.material import Material
from pinxit.reports.sections import Section
from pinxit.reports.words import plain, value

SETTINGS = {
    "model": "The model",
    "training": "Training",
    "data": "The data",
    "versions": "Versions",
}


def judged(material: Material) -> Section | None:
    return None


def repeated(material: Material) -> Section:
    """The command, and every setting that config.json holds."""
    config = material.run.config
    tables = [(title, rows_of(config[key])) for key, title in SETTINGS.items() if config.get(key)]
    return Section("repeated", "To make it again", {"command": _command(config), "tables": tables})


def _command(config: Mapping[str, Any]) -> str:
    """What was typed; where it was made from Python, the nearest command."""
    if config.get("command"):
        return str(config["command"])
    source = (config.get("data") or {}).get("source") or "DATA"
    return f"pinxit train {config['family']} {source}"


def rows_of(record: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    """A record as rows of name and text, inner records flattened."""
    rows: list[tuple[str, str]] = []
    for key, entry in record.items():
        name = f"{before}{plain(str(key))}"
        if isinstance(entry, Mapping):
            rows += rows_of(entry, f"{name}, ")
        else:
            rows.append((name, value(entry)))
    return rows


def figures_of(evaluation: Mapping[str, Any]) -> dict[str, float]:
    return {}
