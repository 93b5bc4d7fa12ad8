"""The files of an explanation, and what earlier calls left in them. Imports no torch."""

from __future__ import annotations

from typing import Any

from pinxit.data.typed_json import decode_json
from pinxit.errors import PinxitError
from pinxit.runs import Run

RECORD, PAGE = "explain.json", "explain.html"
TRIAL_MINUTES = 0.5


def read_explanation(run: Run) -> dict[str, Any]:
    """Return the content of explain.json; {} if there is none, or if it cannot be read."""
    try:
        record = decode_json((run.path / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) and "causes" in record else {}


def explain_missing_data(run: Run, error: PinxitError) -> PinxitError:
    """Return the error of a run whose data cannot be loaded, with the command that names other."""
    command = f"pinxit explain {run.shell_path} DATA"
    return error.with_text(f"{error}\nTo explain the run on other images: {command}")
