"""Read model configurations from JSON, and choose options that families share."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

from pinxit.errors import check_keys

C = TypeVar("C")


def config_from_dict(kind: type[C], record: dict[str, Any]) -> C:
    """Build a configuration from JSON. Raises UsageError for an unknown key."""
    known = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    check_keys(record, known, kind.__qualname__)
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in record.items()}
    return kind(**values)


def choose_num_heads(width: int) -> int:
    """Return the largest number of attention heads with a head dimension of at least 32.

    At least 64 for a width of 512 and above.
    """
    max_heads = max(1, width // (64 if width >= 512 else 32))
    return next(heads for heads in range(max_heads, 0, -1) if width % heads == 0)
