"""Vectors of codes: what is put in for each, what scores each, and those around a place.

A code of finite scalar quantization is a few digits, and codes that share digits look alike: its
vector is a sum of what its digits, and its pairs of digits, have learned. 1,000 codes of 4 digits
share 212 vectors; what is learned of one code is learned of its like. Codes without digits (of a
palette, of a learned codebook) have a vector each.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

Codes = Int64[Tensor, "batch length"]  # row by row from the top left


def shared(levels: Sequence[int]) -> Float[Tensor, "codes features"]:
    """Which digits and pairs of digits each code has: ones and zeros.

    The first level is the code's lowest digit, as in `tokenizer.quantizers.FSQ`.
    """
    codes = torch.arange(math.prod(levels))
    places = torch.tensor([1, *levels[:-1]]).cumprod(0).tolist()
    digits = [codes // place % level for place, level in zip(places, levels, strict=True)]
    ones = [F.one_hot(digit, level) for digit, level in zip(digits, levels, strict=True)]
    pairs = [
        (one[:, :, None] * other[:, None, :]).flatten(1)
        for one, other in itertools.combinations(ones, 2)
    ]
    return torch.cat([*ones, *pairs], 1).float()


class Vectors(nn.Module):
    """`many` tables of a vector for each code, `[many, codes, width]`."""

    shared: Tensor | None

    def __init__(self, codes: int, levels: Sequence[int], width: int, many: int = 1) -> None:
        super().__init__()
        told = shared(levels) if levels else None
        self.register_buffer("shared", told, persistent=False)
        rows = codes if told is None else told.shape[1]
        self.weight = nn.Parameter(0.02 * torch.randn(many, rows, width))

    def forward(self) -> Float[Tensor, "many codes width"]:
        return self.weight if self.shared is None else self.shared @ self.weight


class Around(nn.Module):
    """What the decoder sees of the codes before a place: the last, and those above, above to the
    left and above to the right, each by a table of its own. Where there is none, one for none."""

    near: Tensor

    def __init__(
        self, codes: int, levels: Sequence[int], grid: tuple[int, int], width: int
    ) -> None:
        super().__init__()
        self.none = codes
        near = _near(*grid)
        self.vectors = Vectors(codes, levels, width, near.shape[1])
        self.edge = nn.Parameter(0.02 * torch.randn(near.shape[1], 1, width))
        self.register_buffer("near", near, persistent=False)

    def table(self) -> Float[Tensor, "rows width"]:
        """All tables, one below the other; the last row of each is for none."""
        return torch.cat((self.vectors(), self.edge), 1).flatten(0, 1)

    def forward(
        self, before: Codes, table: Float[Tensor, "rows width"] | None = None, since: int = 0
    ) -> Float[Tensor, "batch some width"]:
        """Of `t` codes: places `since` to `t`, the one after the last. `table` is `table()`."""
        table = self.table() if table is None else table
        near = self.near[since : before.shape[1] + 1]
        known = F.pad(before, (0, len(self.near) + 1 - before.shape[1]), value=self.none)
        first = torch.arange(near.shape[1], device=near.device) * (self.none + 1)
        rows = known[:, near] + first
        return F.embedding_bag(rows.flatten(0, 1), table, mode="sum").unflatten(0, rows.shape[:2])


def _near(rows: int, columns: int) -> Int64[Tensor, "places 4"]:
    """Of each place of a grid the indices of those around it that come before; `places`: none."""
    count, near = rows * columns, []
    for place in range(count):
        row, column = divmod(place, columns)
        above = place - columns if row else count
        left = above - 1 if row and column else count
        right = above + 1 if row and column + 1 < columns else count
        near.append([place - 1 if place else count, above, left, right])
    return torch.tensor(near)
