"""How the options of a command are read from its signature."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import pytest
from tyro.conf import FlagCreatePairsOff, Positional, Suppress, arg

from pinxit.cli.options import REQUIRED, Only, read_docstring, read_options


@dataclass(frozen=True)
class Inner:
    # depth of it,
    # in layers
    depth: int = 3
    # first of them
    start: int = 0  # hidden unless it is named


@dataclass(frozen=True)
class Outer:
    inner: Inner = field(default_factory=Inner)
    secret: Suppress[int] = 0
    name: Annotated[str, arg(metavar="NAME")] = "x"


def option_of(hint, default=REQUIRED):
    def command(value=default):
        """Do it."""

    command.__annotations__["value"] = hint
    (option,) = read_options(command)
    return option


@pytest.mark.parametrize(
    ("hint", "kind", "count", "metavar"),
    [
        (int, "integer", 1, "N"),
        (float | None, "number", 1, "N"),
        (str, "text", 1, "TEXT"),
        (Path | None, "path", 1, "PATH"),
        (bool, "flag", 0, ""),
        (Literal["a", "b"], "choice", 1, "a|b"),
        (tuple[int, int], "integer", 2, "N N"),
        (tuple[str, ...], "text", None, "TEXT ..."),
        (int | str, "text", 1, "TEXT"),
        (Annotated[Path, arg(metavar="RUN")], "path", 1, "RUN"),
    ],
)
def test_the_kind_of_an_option_follows_its_type(hint, kind, count, metavar):
    option = option_of(hint)
    assert (option.kind, option.count, option.metavar) == (kind, count, metavar)


def test_flags_of_an_option():
    assert option_of(int, 1).flags == ("--value",)
    assert option_of(Annotated[int, arg(aliases=("-v",))], 1).flags == ("-v", "--value")
    assert option_of(Annotated[int, arg(name="from")], 1).flags == ("--from",)
    assert option_of(Positional[int]).flags == ()
    assert option_of(bool, True).spellings == ("--value", "--no-value")
    assert option_of(Annotated[bool, FlagCreatePairsOff], False).spellings == ("--value",)


def test_an_option_without_default_is_required_unless_it_takes_any_number():
    assert option_of(int).is_required
    assert not option_of(int, 0).is_required
    assert not option_of(tuple[int, ...]).is_required


def test_nested_dataclasses_are_flattened_and_hidden_fields_left_out():
    def command(outer: Outer = Outer(Inner(depth=7))) -> None:
        """Do it."""

    depth, name = read_options(command)
    assert (depth.name, depth.default, depth.help) == ("depth", 7, "depth of it, in layers")
    assert (name.name, name.metavar) == ("name", "NAME")


def test_a_hidden_field_is_an_option_where_it_is_named():
    def command(inner: Annotated[Inner, Only(("start",))] = Inner()) -> None:
        """Do it."""

    (start,) = read_options(command)
    assert (start.name, start.default, start.help) == ("start", 0, "first of them")


def test_a_docstring_is_read_in_parts():
    def command():
        """Do it
        well.

        It takes a while.

        Examples:
            pinxit do
            pinxit do --all

        Args:
            one: first
                of two
            two: second: last
        """

    docstring = read_docstring(command)
    assert docstring.summary == "Do it well."
    assert docstring.description == "It takes a while."
    assert docstring.examples == ("pinxit do", "pinxit do --all")
    assert docstring.args == {"one": "first of two", "two": "second: last"}
