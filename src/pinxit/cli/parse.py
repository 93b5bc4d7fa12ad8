"""Parse the arguments of a command into the keyword arguments of its function.

Arguments are checked against the options first, so that every error is one or two lines that say
what is wrong and what to do. tyro then builds the values.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pinxit.cli.options import Kind, Option, read_options
from pinxit.cli.suggest import unknown_option
from pinxit.errors import UsageError, did_you_mean
from pinxit.hub.names import PREFIX

NUMBER = re.compile(r"-(?:\d|\.\d|inf|nan)")

# what an option takes: one value, several values
VALUE_TEXTS: dict[Kind, tuple[str, str]] = {
    "integer": ("a whole number", "whole numbers"),
    "number": ("a number", "numbers"),
    "path": ("a path", "paths"),
    "text": ("a value", "values"),
    "choice": ("a choice", "choices"),
}

# metavar of a positional argument -> what it is
POSITIONAL_TEXTS = {
    "RUN": "the folder of a trained run. List yours with: pinxit runs",
    "DATA": "a folder of images or a known data set. List them with: pinxit sources",
    "IMAGE": "an image file",
}


def run_command(command: str, function: Callable[..., Any], args: Sequence[str]) -> int:
    """Run a command with its arguments and return the exit code; `--help` prints its help page."""
    if has_help_flag(args):
        from pinxit.cli.help import help_page

        print(help_page(command, function))
        return 0
    options = read_options(function)
    values = check_args(command, options, args)
    try:
        built = _build_values(command, function, values)
        return function(**{name: _download_runs(value) for name, value in built.items()}) or 0
    except UsageError as error:
        from pinxit.cli.errors import translate_error

        error.args = (translate_error(error, options, values),)
        raise


def has_help_flag(args: Sequence[str]) -> bool:
    return any(arg in ("-h", "--help") for arg in itertools.takewhile(lambda a: a != "--", args))


def parse_args(command: str, function: Callable[..., Any], args: Sequence[str]) -> dict[str, Any]:
    """Return the keyword arguments of the command's function, without calling it.

    Raises UsageError for arguments that are invalid.
    """
    return _build_values(command, function, check_args(command, read_options(function), args))


def check_args(
    command: str, options: Sequence[Option], args: Sequence[str]
) -> dict[Option, list[str]]:
    """Return the values of each option, as text. Raises UsageError for invalid ones."""
    values = assign_values(command, options, args)
    for option, texts in values.items():
        for value in texts:
            _check_value(option, value)
    return values


def assign_values(
    command: str, options: Sequence[Option], args: Sequence[str]
) -> dict[Option, list[str]]:
    """Return the values of each option, as text. An option given twice takes its last value."""
    table = {
        flag: option for option in options for flag in (*option.flags, option.negative) if flag
    }
    values: dict[Option, list[str]] = {}
    positional: list[str] = []
    rest = list(args)
    while rest:
        arg = rest.pop(0)
        if arg == "--":  # all that follows are arguments, whatever they begin with
            positional += rest
            break
        if not _is_flag(arg):
            positional.append(arg)
            continue
        flag, value = _split_flag(arg, table)
        if flag not in table:
            raise unknown_option(flag, table, command)
        option = table[flag]
        values.pop(option, None)
        if option.kind == "flag":
            values[option] = [] if flag != option.negative else ["no"]
            if value is not None:
                raise UsageError(f"{flag} takes no value.")
            continue
        values[option] = [value] if value is not None else _take_values(option, rest)
    return dict(_assign_positional(command, options, positional)) | values


def _is_flag(arg: str) -> bool:
    return len(arg) > 1 and arg.startswith("-") and not NUMBER.match(arg)


def _split_flag(arg: str, table: dict[str, Option]) -> tuple[str, str | None]:
    """`--out=x` -> --out, x; `-n16` -> -n, 16; `--batch_size` -> --batch-size, None."""
    if not arg.startswith("--") and arg[:2] in table and len(arg) > 2:
        return arg[:2], arg[2:].removeprefix("=")
    flag, sign, value = arg.partition("=")
    return flag.replace("_", "-"), value if sign else None


def _take_values(option: Option, rest: list[str]) -> list[str]:
    """Remove the values of an option from the front of the remaining arguments, and return them."""
    until = next((i for i, arg in enumerate(rest) if _is_flag(arg)), len(rest))
    count = until if option.count is None else min(option.count, until)
    values = rest[:count]
    del rest[:count]
    if len(values) < (option.count or 1):
        what, several = _values_text(option)
        if option.count in (None, 1):
            raise UsageError(f"{option.flag} needs a value: {what}.")
        raise UsageError(f"{option.flag} takes {option.count} {several}, not {len(values)}.")
    return values


def _assign_positional(
    command: str, options: Sequence[Option], args: list[str]
) -> Iterator[tuple[Option, list[str]]]:
    """Assign one argument to each option, and the remaining ones to the variadic option."""
    arguments = [option for option in options if not option.flags]
    spare = len(args) - sum(1 for option in arguments if option.is_required)
    for option in arguments:
        limit = spare if option.count is None else min(1, spare)
        count = 1 if option.is_required else max(0, limit)
        if len(args) < count:
            raise _missing(command, option)
        if count:
            yield option, args[:count]
        args = args[count:]
    if args:
        raise UsageError(f"unexpected argument '{args[0]}'. See: pinxit {command} --help")


def _missing(command: str, option: Option) -> UsageError:
    if option.choices:
        return UsageError(f"{command} needs {option.metavar}: {_join_choices(option)}")
    what = POSITIONAL_TEXTS.get(option.metavar, option.help)
    return UsageError(f"{command} needs {option.metavar}, {what}".rstrip("."))


def _check_value(option: Option, value: str) -> None:
    if option.kind == "choice" and value not in option.choices:
        hint = did_you_mean(value, option.choices)
        raise UsageError(f"{option.flag} is {_join_choices(option)}, not '{value}'.{hint}")
    convert = {"integer": int, "number": float}.get(option.kind)
    if convert is None:
        return
    try:
        convert(value)
    except ValueError:
        what, several = _values_text(option)
        what = what if option.count == 1 else several
        raise UsageError(f"{option.flag} takes {what}, not '{value}'.") from None


def _join_choices(option: Option) -> str:
    *most, last = option.choices
    return f"{', '.join(most)} or {last}" if most else last


def _values_text(option: Option) -> tuple[str, str]:
    if option.choices:
        return " or ".join(option.choices), "choices"
    return VALUE_TEXTS[option.kind]


def _build_values(
    command: str, function: Callable[..., Any], values: dict[Option, list[str]]
) -> dict[str, Any]:
    """Build the keyword arguments with tyro, from values that are checked."""
    import tyro

    from pinxit.cli.tyro_rules import TYRO_OPTIONS

    def collect(**arguments: Any) -> dict[str, Any]:
        return arguments

    args: list[str] = []
    for option, texts in values.items():
        if option.flags:
            args += _flag_args(option, texts)
    arguments = [text for option, texts in values.items() if not option.flags for text in texts]
    args += ["--", *arguments] if arguments else []
    try:
        return tyro.cli(
            functools.wraps(function)(collect),
            args=args,
            prog=f"pinxit {command}",
            console_outputs=False,
            **TYRO_OPTIONS,
        )
    except SystemExit:
        raise UsageError(
            f"invalid options: {' '.join(args)}. See: pinxit {command} --help"
        ) from None


def _download_runs(value: Any) -> Any:
    """Return a value with the folder of the run in place of each path `hf:owner/name`."""
    if isinstance(value, tuple) and any(isinstance(item, Path) for item in value):
        return tuple(map(_download_runs, value))
    if isinstance(value, Path) and str(value).startswith(PREFIX):
        from pinxit.hub.download import download

        return download(str(value))
    return value


def _flag_args(option: Option, texts: list[str]) -> list[str]:
    """Return a flag with its values; `--label=-x` for a value that looks like a flag."""
    if option.kind == "flag":
        return [str(option.negative) if texts == ["no"] else option.flag]
    if len(texts) == 1 and texts[0].startswith("-"):
        return [f"{option.flag}={texts[0]}"]
    return [option.flag, *texts]
