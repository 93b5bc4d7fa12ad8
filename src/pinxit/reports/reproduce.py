"""The section with the command and all settings of the run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from pinxit.models import get_family
from pinxit.reports.context import ReportContext
from pinxit.reports.formatting import flatten_record, format_option, format_value
from pinxit.reports.sections import Section
from pinxit.training.option_types import option_types

# records of config.json -> heading
SETTINGS = {
    "model": "Model",
    "training": "Training",
    "trained": "Training summary",
    "data": "Data",
    "versions": "Versions",
}


def reproduce(context: ReportContext) -> Section:
    """Show the command that trained the run, and every setting in config.json."""
    config = context.run.config
    tables = [
        (title, _list_settings(key, config[key], config["family"]))
        for key, title in SETTINGS.items()
        if config.get(key)
    ]
    values = {
        "command": _get_command(config),
        "tables": tables,
        "recorded": bool(config.get("command")),
    }
    return Section("reproduce", "Reproduce this run", values)


def _list_settings(key: str, record: Mapping[str, Any], family: str) -> list[tuple[str, str]]:
    """Name and value of each setting; options as the command line writes them."""
    if key == "model":
        return _list_model_options(record, family)
    if key == "training":
        return _list_options(record)
    if key == "data":
        rows = flatten_record({k: value for k, value in record.items() if k != "options"})
        return rows + _list_options(record.get("options") or {})
    return flatten_record(record)


def _list_model_options(record: Mapping[str, Any], family: str) -> list[tuple[str, str]]:
    """The options of a family; what training itself recorded has a name, but is no option."""
    names = option_types(get_family(family).Config)
    options = {name: value for name, value in record.items() if name in names}
    recorded = {k: value for k, value in record.items() if k not in names and value is not None}
    return _list_options(options) + flatten_record(recorded)


def _list_options(options: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(format_option(name), format_value(value)) for name, value in options.items()]


def _get_command(config: Mapping[str, Any]) -> str:
    """Return the recorded command, or for a run trained from Python the nearest one."""
    command = config.get("command")
    if command:
        return str(command) if isinstance(command, str) else shlex.join(map(str, command))
    source = (config.get("data") or {}).get("source") or "DATA"
    return shlex.join(["pinxit", "train", config["family"], source])
