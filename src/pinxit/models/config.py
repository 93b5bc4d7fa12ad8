"""Read model configurations from JSON, and choose options that families share."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, TypeVar

from pinxit.data.batch import DatasetInfo
from pinxit.errors import check_keys

C = TypeVar("C")


def config_from_dict(kind: type[C], record: dict[str, Any]) -> C:
    """Build a configuration from JSON. Raises UsageError for an unknown key."""
    known = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    check_keys(record, known, kind.__qualname__)
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in record.items()}
    return kind(**values)


def num_patches_by_size(info: DatasetInfo) -> dict[int, int]:
    """Return the number of patches for each patch size that divides the images, smallest first."""
    common = math.gcd(info.height, info.width)
    sizes = [size for size in range(1, common + 1) if common % size == 0]
    return {size: (info.height // size) * (info.width // size) for size in sizes}


def choose_num_heads(width: int) -> int:
    """Return the largest number of attention heads with a head dimension of at least 32.

    At least 64 for a width of 512 and above.
    """
    max_heads = max(1, width // (64 if width >= 512 else 32))
    return next(heads for heads in range(max_heads, 0, -1) if width % heads == 0)
