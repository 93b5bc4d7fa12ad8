"""A settings file: the options of a training in TOML, `pinxit train --config run.toml`.

    family = "vae"
    data = "photos/"
    minutes = 5

    [model]
    latent_dim = 64

The keys are the options of `pinxit train`. Those of the model, of training and of loading images
may stand in tables of these names, `[model]`, `[training]` and `[load]`, or at the top. Imports no
torch.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pinxit.console import is_first_process
from pinxit.data.home_folder import expand_home
from pinxit.data.load_options import LoadOptions
from pinxit.errors import PinxitError, UsageError, describe_os_error, did_you_mean
from pinxit.models import get_family, list_families
from pinxit.training.option_types import convert_option, option_types
from pinxit.training.settings import BUDGETS, TrainingSettings

MAX_BYTES = 2**20
TABLES = ("model", "training", "load")
# of a call of `train`, beside the options in tables
CALL_TYPES: dict[str, Any] = {
    "family": str,
    "data": tuple[str, ...],
    "out": str,
    "report": bool,
    "watch_port": int,
    "resume_or_start": bool,
}
# what a single call does; a file that deletes runs would be a trap
CALL_ONLY = ("overwrite", "dry_run", "quiet", "json", "config", "save_config", "resume")
AUTO = "auto"  # the family that is chosen from the images


@dataclass(frozen=True)
class SettingsFile:
    """The content of a settings file, with the types of the options."""

    path: Path
    family: str = AUTO
    data: tuple[str, ...] = ()
    values: dict[str, Any] = field(default_factory=dict)  # option -> value
    lines: dict[str, int] = field(default_factory=dict)  # option -> line of the file, from 1

    def place(self, name: str) -> str:
        """Return where an option stands, `run.toml, line 5`."""
        return f"{self.path}, line {self.lines[name]}"

    def of(self, table: str) -> dict[str, Any]:
        """Return the options of the table `model`, `training` or `load`, wherever they stand."""
        known = table_types(self.family)[table]
        return {name: value for name, value in self.values.items() if name in known}

    def without_budget(self) -> SettingsFile:
        """Return the settings without minutes, steps and epochs: another budget replaces them."""
        values = {name: value for name, value in self.values.items() if name not in BUDGETS}
        return dataclasses.replace(self, values=values)

    def build(self, table: str) -> Any:
        """Return the options of a table as the family's `Config`, TrainingSettings or LoadOptions.

        Raises UsageError for invalid values, with the line of the first option that it names.
        """
        kinds = {"training": TrainingSettings, "load": LoadOptions}
        kind = kinds[table] if table in kinds else get_family(self.family).Config
        options = self.of(table)
        try:
            return kind(**options)
        except UsageError as error:
            named = [name for name in options if name in str(error)]
            place = self.place(named[0]) if named else str(self.path)
            raise UsageError(f"{place}: {error}") from None


def table_types(family: str) -> dict[str, dict[str, Any]]:
    """Return the type of each option of a family, by table; `auto` has no options of a model."""
    model = {} if family == AUTO else option_types(get_family(family).Config)
    tables = {"training": option_types(TrainingSettings), "load": option_types(LoadOptions)}
    return {"model": model, **tables}


def read_settings(path: str | Path, family: str | None = None) -> SettingsFile:
    """Read a settings file; `family` replaces that of the file.

    Raises UsageError with the line for what is no TOML, for an unknown key, with the near one, and
    for a value of another type.
    """
    path = expand_home(path)
    text = _read(path)
    content, lines = _parse(path, text), _find_lines(text)
    entries = list(_flatten(path, content, lines))
    places = {name: lines[key] for key, name, _ in entries}
    chosen = family or _read_family(path, entries, lines)
    types = table_types(chosen)
    values: dict[str, Any] = {}
    for key, name, value in entries:
        place = f"{path}, line {lines[key]}"
        kind = _find_type(place, key, name, chosen, types)
        if name in values:
            raise UsageError(f"{place}: {name} is set twice.")
        values[name] = convert_option(place, name, value, kind)
    values.pop("family", None)
    data = values.pop("data", ())
    return SettingsFile(path, chosen, data, values, places)


Key = tuple[str, ...]
Entry = tuple[Key, str, Any]  # of the file, name of the option, value


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise UsageError(f"there is no settings file {path}.{_near_file(path)}") from None
    except OSError as error:
        raise UsageError(describe_os_error(error)) from None
    if len(content) > MAX_BYTES:
        raise UsageError(f"{path} is no settings file: it has more than {MAX_BYTES:,} bytes.")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UsageError(f"{path}, line {line}: not UTF-8.") from None


def _near_file(path: Path) -> str:
    try:
        names = [file.name for file in path.parent.iterdir() if file.suffix == ".toml"]
    except OSError:
        return ""
    return did_you_mean(path.name, names)


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        reason, _, position = str(error).removesuffix(")").partition(" (at ")
        line = position.partition(",")[0] if position.startswith("line ") else "the last line"
        raise UsageError(
            f"{path}, {line}: {reason}. Settings are TOML, for example: minutes = 5"
        ) from None
    except RecursionError:
        raise UsageError(f"{path}: nested too deeply.") from None


def _find_lines(text: str) -> dict[Key, int]:
    """Return the line of each key of a valid TOML document, tables included.

    A statement ends with the first line that makes it complete: no part of one is valid by itself.
    """
    found: dict[Key, int] = {}
    table: Key = ()
    start, pending = 1, ""
    for number, line in enumerate(text.split("\n"), start=1):
        pending += line.removesuffix("\r") + "\n"
        try:
            statement = tomllib.loads(pending)
        except tomllib.TOMLDecodeError:
            continue
        keys = list(_all_keys(statement))
        if pending.lstrip().startswith("["):
            table = keys[-1]
            paths = keys
        else:
            paths = [(*table, *key) for key in keys]
        for key in paths:
            found.setdefault(key, start)
        start, pending = number + 1, ""
    return found


def _all_keys(value: Any, above: Key = ()) -> Iterator[Key]:
    """Yield the path of every key: tables before what they hold; an array's own path alone."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield (*above, name)
            yield from _all_keys(item, (*above, name))


def _flatten(path: Path, content: dict[str, Any], lines: Mapping[Key, int]) -> Iterator[Entry]:
    """Yield every option; hyphens in a key are the underscores of the option."""
    for name, value in content.items():
        if not isinstance(value, dict):
            yield (name,), name.replace("-", "_"), value
        elif name not in TABLES:
            hint = did_you_mean(name, TABLES)
            raise UsageError(
                f"{path}, line {lines[(name,)]}: no table [{name}]; "
                f"tables are {', '.join(f'[{table}]' for table in TABLES)}.{hint}"
            )
        else:
            yield from (((name, k), k.replace("-", "_"), v) for k, v in value.items())


def _read_family(path: Path, entries: Iterable[Entry], lines: Mapping[Key, int]) -> str:
    for key, name, value in entries:
        if name == "family" and value not in (AUTO, *list_families()):
            hint = did_you_mean(str(value), list_families())
            raise UsageError(
                f"{path}, line {lines[key]}: no family '{value}'; "
                f"families: {', '.join((AUTO, *list_families()))}.{hint}"
            )
        if name == "family":
            return value
    return AUTO


def _find_type(
    place: str, key: Key, name: str, family: str, types: Mapping[str, Mapping[str, Any]]
) -> Any:
    """Return the type of an option. Raises UsageError if it does not exist, or stands elsewhere."""
    table = key[0] if len(key) > 1 else None
    owner = next((table for table, known in types.items() if name in known), None)
    if owner is not None and table in (None, owner):
        return types[owner][name]
    if table is None and name in CALL_TYPES:
        return CALL_TYPES[name]
    if owner is not None or name in CALL_TYPES:
        where = f"in [{owner}], or before the tables" if owner else "before the tables"
        raise UsageError(f"{place}: {name} is no option of [{table}]; write it {where}.")
    if name in CALL_ONLY:
        flag = f"--{name.replace('_', '-')}"
        raise UsageError(f"{place}: {name} is no setting of a file: give {flag} to the command.")
    owners = [f for f in list_families() if name in table_types(f)["model"]]
    if owners:
        chosen = "no family is chosen" if family == AUTO else f"{family} has no option {name}"
        raise UsageError(f"{place}: {chosen}; {name} is an option of {', '.join(owners)}.")
    known = [*CALL_TYPES, *(name for known in types.values() for name in known)]
    raise UsageError(f"{place}: no option '{name}'.{did_you_mean(name, known)}")


def format_settings(family: str, data: Iterable[str], values: Mapping[str, Any]) -> str:
    """Return a settings file that says these options; None is left out: it is the default.

    Raises UsageError for an option that TOML cannot say: a name that is not Unicode.
    """
    types, data = table_types(family), list(data)
    values = {name: value for name, value in values.items() if value is not None}
    top: dict[str, Any] = {"family": family}
    if data:
        top["data"] = data[0] if len(data) == 1 else data
    top |= {name: values[name] for name in CALL_TYPES if name in values}
    lines = ["# pinxit train --config FILE; options given with it win"]
    lines += [f"{name} = {_format_value(name, value)}" for name, value in top.items()]
    for table in TABLES:
        own = {name: values[name] for name in types[table] if name in values}
        if own:
            lines += ["", f"[{table}]"]
            lines += [f"{name} = {_format_value(name, value)}" for name, value in own.items()]
    return "\n".join(lines) + "\n"


def _format_value(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_format_value(name, item) for item in value)}]"
    text = str(value)
    if not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
        raise UsageError(f"{name} {text!r} is not valid Unicode: a settings file cannot hold it.")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{"".join(_escape(char) for char in escaped)}"'


def _escape(char: str) -> str:
    return f"\\u{ord(char):04x}" if ord(char) < 32 or ord(char) == 127 else char


def save_settings(path: str | Path, text: str, *, overwrite: bool = False) -> None:
    """Write a settings file, in the first process only.

    Raises UsageError if there is another file of this name, unless `overwrite`; PinxitError if it
    cannot be written.
    """
    from pinxit.data.atomic_write import write_atomically

    path = expand_home(path)
    if not is_first_process():
        return
    try:
        if path.is_file() and path.read_bytes() == text.encode():
            return
        if path.exists() and not (overwrite and path.is_file()):
            what = "exists with other settings" if path.is_file() else "is no file"
            raise UsageError(f"{path} {what}: choose another name, or --overwrite.")
        write_atomically(path, text)
    except OSError as error:
        raise PinxitError(describe_os_error(error)) from None
