"""Checks of arguments given in Python, which the command line parses by their types."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from pathlib import Path
from typing import Any, get_args

from pinxit.errors import UsageError, did_you_mean


def check_choice(name: str, value: object, choices: Any, *, optional: bool = False) -> None:
    """Raise UsageError for a value that is none of a `Literal`; None may stand for the default."""
    known = get_args(choices)
    if not (optional and value is None) and value not in known:
        shown = ", ".join(map(repr, known))
        hint = did_you_mean(str(value), list(map(str, known)))
        raise UsageError(f"{name} is one of {shown}, not {value!r}.{hint}")


def check_count(name: str, value: object, minimum: int = 1, *, optional: bool = False) -> None:
    """Raise UsageError for anything but an integer from `minimum` on; None as in `check_choice`."""
    if optional and value is None:
        return
    if not is_integer(value):
        raise UsageError(f"{name} is an integer, not {value!r}.")
    if value < minimum:  # type: ignore[operator]
        raise UsageError(f"{name} must be {minimum} or more, not {value}.")


def check_integers(name: str, values: Any, count: int) -> None:
    """Raise UsageError for anything but `count` integers, or None."""
    if values is None:
        return
    values = values.tolist() if hasattr(values, "tolist") else values  # arrays of NumPy
    is_sequence = isinstance(values, Sequence) and not isinstance(values, str)
    if not is_sequence or len(values) != count or not all(map(is_integer, values)):
        raise UsageError(f"{name} are {count} integers, not {values!r}.")


def check_texts(texts: Any) -> None:
    """Raise UsageError for anything but two texts, or None."""
    is_pair = isinstance(texts, Sequence) and not isinstance(texts, str) and len(texts) == 2
    if texts is not None and not (is_pair and all(isinstance(text, str) for text in texts)):
        raise UsageError(f"texts are two texts, not {texts!r}.")


def check_page(name: str, path: str | Path | None) -> None:
    """Raise UsageError for a file that does not end in .html."""
    if path is not None and Path(path).suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"{name} is a file that ends in .html, not {path}.")


def is_integer(value: object) -> bool:
    """Return whether a value is an integer, of Python or of NumPy; True and False are none."""
    return isinstance(value, Integral) and not isinstance(value, bool)
