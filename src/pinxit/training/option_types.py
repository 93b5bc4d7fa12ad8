"""The types of options, as the fields of dataclasses declare them, and checks of values."""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any, Literal

from pinxit.errors import UsageError, did_you_mean

NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "a text in quotes"}
NAMES_OF_SEVERAL = {int: "whole numbers", float: "numbers", str: "texts in quotes"}


def option_types(kind: Any) -> dict[str, Any]:
    """Return the type of each field of a dataclass that is an option, without internal ones."""
    hints = typing.get_type_hints(kind)
    fields = dataclasses.fields(kind)
    return {f.name: hints[f.name] for f in fields if not f.metadata.get("internal")}


def convert_option(place: str, name: str, value: Any, kind: Any) -> Any:
    """Return a value of TOML or JSON as the type of an option; one value stands for a list of it.

    Raises UsageError, which begins with `place`, for a value of another type.
    """
    import msgspec

    members = _members(kind)
    is_list = any(typing.get_origin(member) is tuple for member in members)
    has_scalar = any(typing.get_origin(member) is not tuple for member in members)
    if is_list and not has_scalar and not isinstance(value, list):
        value = [value]
    try:
        return msgspec.convert(value, kind)
    except (msgspec.ValidationError, OverflowError, RecursionError):
        raise UsageError(f"{place}: {name} {_expectation(members, value)}") from None


def _members(kind: Any) -> list[Any]:
    """Return the types of a union, without None."""
    is_union = typing.get_origin(kind) in (typing.Union, types.UnionType)
    members = typing.get_args(kind) if is_union else (kind,)
    return [member for member in members if member is not type(None)]


def _expectation(members: list[Any], value: Any) -> str:
    """Return what an option takes, and the value that it has got."""
    shown = str(value).lower() if isinstance(value, bool) else repr(value)
    shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
    inner = [_element(member) for member in members]
    choices = [str(c) for m in inner if typing.get_origin(m) is Literal for c in typing.get_args(m)]
    if choices:
        wrong = value[0] if isinstance(value, list) and len(value) == 1 else value
        hint = did_you_mean(wrong, choices) if isinstance(wrong, str) else ""
        *most, last = choices
        return f"is {', '.join(most)} or {last}, not {shown}.{hint}"
    texts = []
    for member, element in zip(members, inner, strict=True):
        is_list = typing.get_origin(member) is tuple
        names = NAMES_OF_SEVERAL if is_list else NAMES
        texts.append(f"a list of {names[element]}" if is_list else names[element])
    return f"takes {' or '.join(texts)}, not {shown}."


def _element(member: Any) -> Any:
    return typing.get_args(member)[0] if typing.get_origin(member) is tuple else member
