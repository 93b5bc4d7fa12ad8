"""Run a function in batches of one fixed size, so that results do not depend on the batch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

CHUNK = 64  # images a chunk; an image's slot and its chunk's shape never depend on the request


def map_in_fixed_batches(
    function: Callable[..., Tensor | tuple[Tensor, ...]], *rows: Tensor | None, size: int = CHUNK
) -> list[Tensor]:
    """`function` over rows in chunks of exactly `size`, the last one padded with its last row.

    A matrix product's rounding depends on its shape, so equal shapes make an image's result
    the same bit for bit whatever stands beside it. Returns a list: one tensor an output.
    """
    first = next(row for row in rows if row is not None)
    parts: list[tuple[Tensor, ...]] = []
    for start in range(0, len(first), size):
        chunk = [None if row is None else _padded(row[start : start + size], size) for row in rows]
        result = function(*chunk)
        result = result if isinstance(result, tuple) else (result,)
        parts.append(tuple(r[: len(first) - start].clone() for r in result))
    return [torch.cat(column) for column in zip(*parts, strict=True)]


def _padded(rows: Tensor, size: int) -> Tensor:
    missing = size - len(rows)
    if missing == 0:
        return rows
    return torch.cat([rows, rows[-1:].expand(missing, *rows.shape[1:])])
