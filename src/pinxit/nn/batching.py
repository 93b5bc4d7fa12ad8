"""Run a function in batches of one fixed size, so that results do not depend on the batch.

The rounding of a matrix product depends on its shape. With equal shapes the result for an image
is the same bit for bit, whatever else is in the batch.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

BATCH_SIZE = 64  # images


def map_in_fixed_batches(
    function: Callable[..., Tensor | tuple[Tensor, ...]],
    *inputs: Tensor | None,
    batch_size: int = BATCH_SIZE,
) -> list[Tensor]:
    """Apply `function` to the rows of `inputs` in batches of exactly `batch_size`.

    The last batch is padded with copies of its last row; an input that is None is passed on as
    None. Returns one tensor per output of `function`.
    """
    first = next(tensor for tensor in inputs if tensor is not None)
    batches: list[tuple[Tensor, ...]] = []
    for start in range(0, len(first), batch_size):
        rows = slice(start, start + batch_size)
        batch = [None if x is None else pad_rows(x[rows], batch_size) for x in inputs]
        outputs = function(*batch)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        batches.append(tuple(output[: len(first) - start].clone() for output in outputs))
    return [torch.cat(column) for column in zip(*batches, strict=True)]


def pad_rows(rows: Tensor, count: int) -> Tensor:
    """Return `count` rows: these, and copies of the last one.

    The strides are those of a contiguous tensor: the rounding of a convolution depends on them.
    """
    missing = count - len(rows)
    if missing:
        rows = torch.cat([rows, rows[-1:].expand(missing, *rows.shape[1:])])
    return rows.clone(memory_format=torch.contiguous_format)
