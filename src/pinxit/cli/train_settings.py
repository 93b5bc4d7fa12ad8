"""`pinxit train --config FILE` and `--save-config FILE`: options of a file, and where each is from.

A file's options are the defaults of the command: those of the command line win.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pinxit.cli.options import read_options
from pinxit.cli.parse import assign_values, has_help_flag
from pinxit.data.load_options import LoadOptions
from pinxit.errors import UsageError
from pinxit.training.settings import BUDGETS, TrainingSettings
from pinxit.training.settings_file import SettingsFile, format_settings, save_settings

if TYPE_CHECKING:
    from pinxit.training.prepare import TrainingPlan

TYPED = "command line"


def find_config(args: Sequence[str]) -> tuple[str | None, list[str]]:
    """Return the value of `--config`, and the arguments without it. The last one counts."""
    file, rest, remaining = None, [], list(args)
    while remaining:
        arg = remaining.pop(0)
        flag, sign, value = arg.partition("=")
        if arg == "--":
            return file, [*rest, arg, *remaining]
        if flag != "--config":
            rest.append(arg)
        elif not sign and (not remaining or remaining[0].startswith("-")):
            raise UsageError("--config needs a value: a path.")
        else:
            file = value if sign else remaining.pop(0)
    return file, rest


def find_typed(name: str, command: Callable[..., Any], args: Sequence[str]) -> set[str]:
    """Return the names of the options that are among the arguments of a command."""
    if has_help_flag(args):
        return set()
    return {option.name for option in assign_values(name, read_options(command), args)}


def with_settings(
    command: Callable[..., Any], settings: SettingsFile, typed: set[str]
) -> Callable[..., Any]:
    """Return a command whose defaults are those of a settings file.

    A budget of the command line, such as `--steps`, replaces another one of the file.
    """
    if typed & set(BUDGETS):
        settings = settings.without_budget()
    signature = inspect.signature(command)
    names = signature.parameters
    call = {name: value for name, value in settings.values.items() if name in names}
    if "out" in call:
        call["out"] = Path(call["out"])
    tables = {"training", "load", "model"} & names.keys()
    defaults = {table: settings.build(table) for table in sorted(tables)} | call
    if settings.data:
        defaults["data"] = settings.data

    @functools.wraps(command)
    def wrapper(**arguments: Any) -> Any:
        return command(**{**defaults, **arguments})

    replaced = [p.replace(default=defaults.get(p.name, p.default)) for p in names.values()]
    setattr(wrapper, "__signature__", signature.replace(parameters=replaced))  # noqa: B010
    return wrapper


def find_origins(settings: SettingsFile | None, typed: set[str]) -> dict[str, str]:
    """Return where each option that is given comes from: the command line, or a line of a file."""
    origins: dict[str, str] = {}
    if settings is not None:
        budgets = set(BUDGETS) if typed & set(BUDGETS) else set()
        origins = {name: settings.place(name) for name in settings.lines if name not in budgets}
    return origins | dict.fromkeys(typed, TYPED)


def name_origins(
    plan: TrainingPlan, load: LoadOptions, origins: Mapping[str, str]
) -> dict[str, str]:
    """Return where the value of every option of a plan is from; `chosen` is what pinxit chose."""
    defaults = {
        **dataclasses.asdict(type(plan.config)()),
        **dataclasses.asdict(TrainingSettings()),
        **LoadOptions().to_json(),
    }
    values = {**plan.options(), **load.to_json()}
    return {
        name: origins.get(name) or ("default" if value == defaults[name] else "chosen")
        for name, value in values.items()
    }


def save_given(
    path: Path,
    origins: Mapping[str, str],
    family: str,
    data: Sequence[str],
    parts: Sequence[Any],
    call: Mapping[str, Any],
) -> None:
    """Write the options that are given as a settings file, see `save_settings`.

    `parts` are the dataclasses with the values of options, `call` the other options.
    """
    values = {
        name: getattr(part, name) for part in parts for name in origins if hasattr(part, name)
    }
    values |= {name: call[name] for name in origins if name in call}
    text = format_settings(family, data, values)
    save_settings(path, text, overwrite=call["overwrite"])
