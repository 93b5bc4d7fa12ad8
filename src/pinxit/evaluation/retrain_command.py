"""The command that trains a run anew with options changed."""

from __future__ import annotations

import shlex
from typing import Any

from pinxit.errors import UsageError
from pinxit.models import get_family
from pinxit.runs import Run


def retrain_command(run: Run, changes: dict[str, Any], suffix: str) -> str:
    """Return a command that trains the run anew with options changed, into another folder.

    It is the run's own command, if that is known; else one with every option of the model that
    is not the default. Options that have no effect beside the changed ones are left out.
    """
    words = _own_words(run)
    for name in _list_unused_options(run, changes):
        words = _without_flag(words, f"--{name.replace('_', '-')}")
    for name, value in changes.items():
        words = _without_flag(words, f"--{name.replace('_', '-')}")
        if value is not None and value != _default(run, name):
            words += [f"--{name.replace('_', '-')}", _format(value)]
    words = _without_flag(_without_flag(words, "--out"), "-o")
    out = run.path.with_name(f"{run.path.name}-{suffix.replace('_', '-')}")
    return shlex.join([*words, "--out", str(out)])


def _list_unused_options(run: Run, changes: dict[str, Any]) -> list[str]:
    """Return the options of the model that have no effect with these changes."""
    try:
        changed = get_family(run.family).Config(**{**run.config["model"], **changes})
    except UsageError:
        return []
    return [
        need.option for need in getattr(changed, "option_needs", ()) if not need.is_met(changed)
    ]


def _own_words(run: Run) -> list[str]:
    command = run.config.get("command")
    if command:
        return shlex.split(command)
    source = (run.config.get("data") or {}).get("source") or "DATA"
    words = ["pinxit", "train", run.family, source]
    for name, value in run.config["model"].items():
        if value is not None and value != _default(run, name) and not isinstance(value, dict):
            words += [f"--{name.replace('_', '-')}", _format(value)]
    return words


def _default(run: Run, name: str) -> Any:
    return getattr(get_family(run.family).Config(), name, None)


def _format(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _without_flag(words: list[str], flag: str) -> list[str]:
    """Return the words without a flag and its value: `--beta 2` or `--beta=2`."""
    kept, skip = [], False
    for word in words:
        if skip:
            skip = False
        elif word == flag:
            skip = True
        elif not word.startswith(f"{flag}="):
            kept.append(word)
    return kept
