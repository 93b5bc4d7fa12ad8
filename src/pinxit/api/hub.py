"""Which run a name stands for: a run, a path, or `hf:owner/name` of the Hugging Face Hub."""

from __future__ import annotations

import re
from pathlib import Path

from pinxit import runs
from pinxit.data.home_folder import expand_home
from pinxit.errors import UsageError
from pinxit.hub.names import NAME, PREFIX


def find_run(run: runs.Run | str | Path) -> Path:
    """Return the folder of a run: a run, a path, or `hf:owner/name`, which is downloaded.

    Raises UsageError for a folder that does not exist, PinxitError if nothing can be downloaded.
    """
    if isinstance(run, runs.Run):
        return run.path
    text = str(run)
    if text.startswith(PREFIX):
        from pinxit.hub.download import download

        return download(text)
    path = expand_home(text)
    if not path.exists():
        raise UsageError(f"no run at {path}: no such folder.{_suggest(path)}")
    return path


def _suggest(path: Path) -> str:
    """Return the run of a similar name, or that it may be a name of the hub."""
    if hint := runs.suggest_run(path):
        return hint
    if not path.parent.is_dir() and re.fullmatch(NAME, path.as_posix()):
        return f" A model of the Hugging Face Hub is {PREFIX}{path.as_posix()}."
    return " List your runs with: pinxit.list_runs()"
