"""Read JSON whose content is not trusted: types, bounds and size are checked, with the reason."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pinxit.data.unicode_forms import replace_surrogates
from pinxit.errors import PinxitError

T = TypeVar("T")

MAX_BYTES = 256 * 2**20  # of a file; the largest record of a run is a few MB


def read_json(file: Path, *, allow_nan: bool = False) -> Any:
    """Return the content of a JSON file.

    Raises PinxitError if the file is too large, not UTF-8 or not JSON. NaN and Infinity are no
    JSON; `allow_nan` reads them all the same, as Python writes them.
    """
    return parse_json(read_text(file), str(file), allow_nan=allow_nan)


def read_text(file: Path) -> str:
    """Return a text file of UTF-8. Raises PinxitError for another one, and if it is too large."""
    size = file.stat().st_size
    if size > MAX_BYTES:
        raise PinxitError(f"{file} has {size:,} bytes: too large to be a file of a run.")
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise PinxitError(f"{file} is damaged: it is not UTF-8 ({error.reason}).") from None


def decode_json(text: str | bytes, parse_constant: Callable[[str], float] | None = None) -> Any:
    """Parse JSON as `json.loads` does; too deep a nesting is a ValueError, too.

    `parse_constant` makes a number of the words NaN, Infinity and -Infinity.
    """
    try:
        return json.loads(text, parse_constant=parse_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def parse_json(text: str, where: str, *, allow_nan: bool = False) -> Any:
    """Parse JSON; `where` names it in errors. Raises PinxitError if it is invalid."""

    def refuse(constant: str) -> float:
        raise ValueError(f"{constant} is no number of JSON")

    try:
        return decode_json(text, float if allow_nan else refuse)
    except ValueError as error:
        raise PinxitError(f"{where} is not valid JSON: {error}.") from None


def convert_json(record: Any, kind: type[T], where: str) -> T:
    """Check JSON against a type (a dataclass, a TypedDict, ...) and return it as that type.

    Lists become tuples where the type says so. `where` names the record in errors. Raises
    PinxitError with the path to the first value that does not fit.
    """
    import msgspec

    try:
        try:
            return msgspec.convert(record, kind)
        except UnicodeEncodeError:  # names of files that are not UTF-8, which msgspec cannot hold
            msgspec.convert(_without_surrogates(record), kind)
            return _construct(record, kind)
    except msgspec.ValidationError as error:
        raise PinxitError(f"{where} is damaged: {_describe(str(error))}.") from None
    except RecursionError:
        raise PinxitError(f"{where} is damaged: it is nested too deeply.") from None


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return replace_surrogates(value)
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {_without_surrogates(k): _without_surrogates(v) for k, v in value.items()}
    return value


def _construct(record: Any, kind: type[T]) -> T:
    """Return a checked record as its type: of a dataclass an instance, with tuples for lists."""
    if not dataclasses.is_dataclass(kind):
        return record
    names = {field.name for field in dataclasses.fields(kind)}
    known = {name: value for name, value in record.items() if name in names}
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in known.items()})


def _describe(message: str) -> str:
    """Turn msgspec's "Expected `int`, got `str` - at `$.a.b`" into `a.b: expected int, got str`."""
    found = re.fullmatch(r"(.*?)(?: - at `(?:key in )?\$\.?(.*)`)?", message, re.DOTALL)
    assert found is not None
    reason = found[1].replace("`", "")
    reason = reason[:1].lower() + reason[1:]
    return f"{found[2]}: {reason}" if found[2] else reason
