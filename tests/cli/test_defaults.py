"""All options of all commands, with their kinds, choices and defaults, against a list.

A default is a promise: the same command does the same in the next version. Who changes one changes
the list too, by `python -m tests.cli.test_defaults`, and says so in CHANGELOG.md.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pinxit.cli.completion import all_options
from pinxit.cli.options import REQUIRED, Option

LIST = Path(__file__).with_name("defaults.txt")


def describe_value(value: Any) -> str:
    """Return a value as text that is the same on every machine."""
    if value is REQUIRED:
        return "required"
    if isinstance(value, Path):
        return f"'{value.as_posix()}'"
    return repr(value)


def describe_option(option: Option) -> str:
    names = " ".join(option.spellings) or option.metavar
    count = {1: "", None: " ..."}.get(option.count, f" x {option.count}")
    kind = "|".join(option.choices) or option.kind
    return f"{names}: {kind}{count} = {describe_value(option.default)}"


def list_options() -> Iterator[str]:
    for command, options in all_options().items():
        yield f"[{command}]"
        yield from map(describe_option, options)


def test_options_and_defaults_are_those_of_the_list():
    listed = LIST.read_text("utf-8").splitlines()
    changed = list(difflib.unified_diff(listed, list(list_options()), "listed", "now", n=0))
    assert not changed, "\n".join(changed)


if __name__ == "__main__":
    LIST.write_text("\n".join(list_options()) + "\n", "utf-8")
