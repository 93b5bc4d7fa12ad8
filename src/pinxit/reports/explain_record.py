"""The files of an explanation, and what earlier calls left in them. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pinxit.data.typed_json import decode_json
from pinxit.errors import PinxitError
from pinxit.runs import Run

RECORD, PAGE = "explain.json", "explain.html"
TRIAL_MINUTES = 0.5


def explanation_files(protocol: Mapping[str, Any]) -> tuple[str, str]:
    """Return the names of record and page: others for images that are not the run's own."""
    other_data = protocol.get("other_data")
    files = Path(RECORD), Path(PAGE)
    record, page = (f"{f.stem}-{other_data}{f.suffix}" if other_data else f.name for f in files)
    return record, page


def read_explanation(run: Run, name: str = RECORD, *, only_own: bool = True) -> dict[str, Any]:
    """Return the content of explain.json, or of another record of explanations.

    {} if there is none, if it cannot be read, or, with `only_own`, if an earlier version wrote what
    it found on other images to explain.json.
    """
    try:
        record = decode_json((run.path / name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(record, dict) or "causes" not in record:
        return {}
    is_own = not only_own or name != RECORD or run.is_on_own_data(record.get("protocol") or {})
    return record if is_own else {}


def explain_missing_data(run: Run, error: PinxitError) -> PinxitError:
    """Return the error of a run whose data cannot be loaded, with the command that names other."""
    command = f"pinxit explain {run.shell_path} DATA"
    return error.with_text(f"{error}\nTo explain the run on other images: {command}")
