"""Embeddings of image codes: of each code, and of the codes around a position.

A code of finite scalar quantization (FSQ) is a few digits, and codes that share digits decode to
similar patches. Its embedding is the sum of learned vectors of its digits and of its pairs of
digits: 1,000 codes of 4 digits share 212 vectors. Codes without digits (of a palette, of a learned
codebook) have a vector each.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

Codes = Int64[Tensor, "batch length"]  # in raster order


def digit_features(levels: Sequence[int]) -> Float[Tensor, "codes features"]:
    """Indicators of the digits and pairs of digits of each code.

    The first level is the code's lowest digit, as in `tokenizer.quantizers.FSQ`.
    """
    codes = torch.arange(math.prod(levels))
    basis = [math.prod(levels[:i]) for i in range(len(levels))]
    digits = [codes // base % level for base, level in zip(basis, levels, strict=True)]
    one_hot = [F.one_hot(digit, level) for digit, level in zip(digits, levels, strict=True)]
    pairs = [
        (first[:, :, None] * second[:, None, :]).flatten(1)
        for first, second in itertools.combinations(one_hot, 2)
    ]
    return torch.cat([*one_hot, *pairs], 1).float()


class CodeEmbedding(nn.Module):
    """Learned embedding tables over all codes.

    With one table, `weight_matrix()` serves as the weight of an embedding or of an output layer.
    """

    features: Tensor | None  # of the digits; None: the codes have no digits

    def __init__(
        self, num_codes: int, fsq_levels: Sequence[int], width: int, num_tables: int = 1
    ) -> None:
        super().__init__()
        features = digit_features(fsq_levels) if fsq_levels else None
        self.register_buffer("features", features, persistent=False)
        rows = num_codes if features is None else features.shape[1]
        self.weight = nn.Parameter(0.02 * torch.randn(num_tables, rows, width))

    def forward(self) -> Float[Tensor, "tables codes width"]:
        """Compute the tables, `[num_tables, codes, width]`."""
        return self.weight if self.features is None else self.features @ self.weight

    def weight_matrix(self) -> Float[Tensor, "codes width"]:
        """Compute the only table."""
        assert len(self.weight) == 1, "one table"
        return self()[0]


class LocalContextEmbedding(nn.Module):
    """The sum of embeddings of the previous, top, top-left and top-right codes of a position.

    Each of the four has its own table, with a learned vector for positions outside the grid.
    The previous code is the one before in raster order.
    """

    neighbours: Tensor  # `[positions, 4]`, indices of codes

    def __init__(
        self, num_codes: int, fsq_levels: Sequence[int], grid: tuple[int, int], width: int
    ) -> None:
        super().__init__()
        self.num_codes = num_codes
        neighbours = _causal_neighbours(*grid)
        self.embedding = CodeEmbedding(num_codes, fsq_levels, width, neighbours.shape[1])
        self.outside = nn.Parameter(0.02 * torch.randn(neighbours.shape[1], 1, width))
        self.register_buffer("neighbours", neighbours, persistent=False)

    def table(self) -> Float[Tensor, "rows width"]:
        """Stack the four tables; the last row of each is for positions outside the grid."""
        return torch.cat((self.embedding(), self.outside), 1).flatten(0, 1)

    def forward(
        self, prefix: Codes, table: Float[Tensor, "rows width"] | None = None, start: int = 0
    ) -> Float[Tensor, "batch positions width"]:
        """Embed the context of positions `start` to `t`, given the first `t` codes.

        `table` is the result of `table()`, to compute it only once.
        """
        table = self.table() if table is None else table
        neighbours = self.neighbours[start : prefix.shape[1] + 1]
        missing = len(self.neighbours) + 1 - prefix.shape[1]
        codes = F.pad(prefix, (0, missing), value=self.num_codes)
        table_starts = torch.arange(neighbours.shape[1], device=neighbours.device)
        rows = codes[:, neighbours] + table_starts * (self.num_codes + 1)
        return F.embedding_bag(rows.flatten(0, 1), table, mode="sum").unflatten(0, rows.shape[:2])


def _causal_neighbours(rows: int, columns: int) -> Int64[Tensor, "positions 4"]:
    """Indices of the previous, top, top-left and top-right codes; rows * columns if outside."""
    outside, neighbours = rows * columns, []
    for position in range(rows * columns):
        row, column = divmod(position, columns)
        previous = position - 1 if position else outside
        top = position - columns if row else outside
        top_left = top - 1 if row and column else outside
        top_right = top + 1 if row and column + 1 < columns else outside
        neighbours.append([previous, top, top_left, top_right])
    return torch.tensor(neighbours)
