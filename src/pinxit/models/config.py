"""Model configurations from and to JSON, and choices that families share."""

from __future__ import annotations

import dataclasses
from typing import (
    TYPE_CHECKING,
    Any,
    TypeVar,
)

from pinxit.errors import check_keys

if TYPE_CHECKING:
    pass
if TYPE_CHECKING:
    pass


C = TypeVar("C")


def config_from_dict(kind: type[C], record: dict[str, Any]) -> C:
    """A frozen configuration from JSON; an unknown key is an error that suggests the near one."""
    known = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    check_keys(record, known, kind.__qualname__)
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in record.items()}
    return kind(**values)


def choose_num_heads(width: int) -> int:
    """The largest number of attention heads that divides `width` into heads of 32 or more.

    Of 64 or more for a width of 512 and above.
    """
    most = max(1, width // (64 if width >= 512 else 32))
    return next(heads for heads in range(most, 0, -1) if width % heads == 0)
