"""The command that trains a run anew with options changed."""

from __future__ import annotations

import dataclasses
import re
import shlex
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pinxit.data.load_options import LoadOptions
from pinxit.errors import PinxitError, UsageError
from pinxit.models import get_family, list_families
from pinxit.models.config import config_from_dict
from pinxit.runs import Run
from pinxit.training.option_types import option_types
from pinxit.training.settings import BUDGETS, TrainingSettings

# what the run's own command said of its folder and its file of options
OF_THIS_RUN = {"out": Path, "config": Path, "save_config": Path, "overwrite": bool}
NUMBER = re.compile(r"-(?:\d|\.\d|inf|nan)")  # a value, no flag


def retrain_command(run: Run, changes: dict[str, Any], suffix: str) -> str:
    """Return a command that trains the run anew with options changed, into another folder.

    It is the run's own command, with its family and with all that it would choose otherwise; or
    every option that is not the default, if that command is unknown, or if it reads a file of
    options. Options that have no effect beside the changed ones are left out.
    """
    words = _own_words(run) or _all_words(run)
    end = words.index("--") if "--" in words else len(words)
    words, arguments = words[:end], words[end:]
    types = {**_all_types(run), **OF_THIS_RUN}
    unused = list_unused_options(run, changes)
    for name in (*changes, *unused, *OF_THIS_RUN):
        words = _without_option(words, name, types.get(name))
    used = {name: value for name, value in changes.items() if name not in unused}
    words += _format_options(used, _defaults(run))
    words += _format_options(_list_differences(run, changes, unused, words))
    path = run.path if run.path.name not in ("", "..") else run.path.resolve()
    out = path.with_name(f"{path.name}-{suffix.replace('_', '-')}")
    return shlex.join([*words, "--out", str(out), *arguments])


def list_unused_options(run: Run, changes: Mapping[str, Any]) -> list[str]:
    """Return the options of the model that have no effect with these changes."""
    try:
        changed = get_family(run.family).Config(**{**run.config["model"], **changes})
    except UsageError:
        return []
    return [
        need.option for need in getattr(changed, "option_needs", ()) if not need.is_met(changed)
    ]


def data_names(run: Run) -> list[str]:
    """Return the DATA that a run was trained on, as words of a command; `DATA` if it is unknown."""
    record = run.config.get("data") or {}
    return list(record.get("files") or [record.get("source") or "DATA"])


def train_words(command: str, data: Sequence[str], flags: Sequence[str]) -> list[str]:
    """Return the words of a command with DATA, which may look like flags, and its flags."""
    words = command.split()
    if any(name.startswith("-") for name in data):
        return [*words, *flags, "--", *data]
    return [*words, *data, *flags]


def _own_words(run: Run) -> list[str]:
    """Return the run's own command with its family; [] if that is unknown, or reads a file."""
    try:
        words = shlex.split(run.config.get("command") or "")
    except ValueError:
        return []
    before = words[: words.index("--")] if "--" in words else words
    if len(before) < 3 or before[1] != "train":
        return []
    if any(word.partition("=")[0] in ("--config", "--resume") for word in before):
        return []
    if before[2] in list_families():  # of a component the command is that of the whole
        return words if before[2] == run.family else []
    return [*words[:2], run.family, *words[2:]]


def _all_words(run: Run) -> list[str]:
    """Return a command with every option that is not the default."""
    training = run.config["training"]
    requested = (run.config.get("requested") or {}).get("training") or training
    budget = {name: training.get(name) for name in BUDGETS}
    load = dict((run.config.get("data") or {}).get("options") or {})
    if load.get("data_seed") == training.get("seed"):
        load.pop("data_seed", None)  # chosen from it
    options = {**run.config["model"], **requested, **budget, **load}
    known = {name: value for name, value in options.items() if name in _all_types(run)}
    return train_words(
        f"pinxit train {run.family}", data_names(run), _format_options(known, _defaults(run))
    )


def _list_differences(
    run: Run, changes: Mapping[str, Any], unused: Sequence[str], words: Sequence[str]
) -> dict[str, Any]:
    """Return the options of the model that a command would choose otherwise than they should be."""
    kind, defaults = get_family(run.family).Config, _defaults(run)
    names = option_types(kind)
    model = {**run.config["model"], **{k: v for k, v in changes.items() if k in names}}
    given = {word.partition("=")[0].replace("_", "-") for word in words if word.startswith("--")}
    try:
        meant = config_from_dict(kind, model)
        meant = dataclasses.replace(meant, **{name: defaults[name] for name in unused})
        meant = meant.resolve(run.info)
        typed = {n: getattr(meant, n) for n in names if {_flag(n), _flag(f"no_{n}")} & given}
        chosen = kind(**typed).resolve(run.info)
    except PinxitError:  # refused by the training as well, with the reason
        return {}
    values = {name: getattr(meant, name) for name in names}
    return {name: value for name, value in values.items() if value != getattr(chosen, name)}


def _all_types(run: Run) -> dict[str, Any]:
    kinds = (get_family(run.family).Config, TrainingSettings, LoadOptions)
    return {name: kind for owner in kinds for name, kind in option_types(owner).items()}


def _defaults(run: Run) -> dict[str, Any]:
    owners = (get_family(run.family).Config(), TrainingSettings(), LoadOptions())
    return {f.name: getattr(owner, f.name) for owner in owners for f in dataclasses.fields(owner)}


def _format_options(
    options: Mapping[str, Any], defaults: Mapping[str, Any] | None = None
) -> list[str]:
    """Return the words that give these options; without those of the default, and without None."""
    words: list[str] = []
    for name, value in options.items():
        value = tuple(value) if isinstance(value, list) else value
        if value is None or (defaults is not None and value == defaults.get(name)):
            continue
        if isinstance(value, bool):
            words.append(_flag(name if value else f"no_{name}"))
            continue
        if name == "size" and isinstance(value, tuple):
            value = f"{value[1]}x{value[0]}"  # (height, width)
        texts = [_format(item) for item in (value if isinstance(value, tuple) else (value,))]
        is_like_flag = len(texts) == 1 and texts[0].startswith("-")
        words += [f"{_flag(name)}={texts[0]}"] if is_like_flag else [_flag(name), *texts]
    return words


def _format(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _without_option(words: Sequence[str], name: str, kind: Any) -> list[str]:
    """Return the words without an option and its values, however it is spelled."""
    kept, rest = [], list(words)
    while rest:
        word = rest.pop(0)
        flag, sign, _ = word.partition("=")
        flag = flag.replace("_", "-")
        if name == "out" and re.match(r"-o", word):  # -o x, -o=x, -ox
            del rest[: 1 if word == "-o" else 0]
        elif flag not in (_flag(name), _flag(f"no_{name}")):
            kept.append(word)
        elif not sign:
            del rest[: _count_values(rest, kind)]
    return kept


def _count_values(rest: Sequence[str], kind: Any) -> int:
    """Return how many words after a flag are its values."""
    if kind is bool:
        return 0
    members = (kind, *typing.get_args(kind))
    if not any(typing.get_origin(member) is tuple for member in members):
        return 1
    flags = (i for i, w in enumerate(rest) if w.startswith("-") and not NUMBER.match(w))
    return next(flags, len(rest))
