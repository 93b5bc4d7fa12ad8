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
    table_starts: Tensor  # `[4]`, the first row of each table

    def __init__(
        self, num_codes: int, fsq_levels: Sequence[int], grid: tuple[int, int], width: int
    ) -> None:
        super().__init__()
        self.num_codes = num_codes
        neighbours = _causal_neighbours(*grid)
        self.embedding = CodeEmbedding(num_codes, fsq_levels, width, neighbours.shape[1])
        self.outside = nn.Parameter(0.02 * torch.randn(neighbours.shape[1], 1, width))
        self.register_buffer("neighbours", neighbours, persistent=False)
        starts = torch.arange(neighbours.shape[1]) * (num_codes + 1)
        self.register_buffer("table_starts", starts, persistent=False)

    def table(self) -> Float[Tensor, "rows width"]:
        """Stack the four tables; the last row of each is for positions outside the grid."""
        return torch.cat((self.embedding(), self.outside), 1).flatten(0, 1)

    def forward(self, prefix: Codes) -> Float[Tensor, "batch positions width"]:
        """Embed the context of positions 0 to `t`, given the first `t` codes."""
        neighbours = self.neighbours[: prefix.shape[1] + 1]
        missing = len(self.neighbours) + 1 - prefix.shape[1]
        codes = F.pad(prefix, (0, missing), value=self.num_codes)
        rows = codes[:, neighbours] + self.table_starts
        bags = F.embedding_bag(rows.flatten(0, 1), self.table(), mode="sum")
        return bags.unflatten(0, rows.shape[:2])

    def embed_position(
        self,
        codes: Int64[Tensor, "batch length_and_one"],
        table: Float[Tensor, "rows width"],
        t: int,
    ) -> Float[Tensor, "batch width"]:
        """Embed the context of position t. `num_codes` stands for codes that are not there: those
        to come, and the last one, outside the grid. `table`: `table()`, to compute it only once.
        """
        rows = codes.index_select(1, self.neighbours[t]) + self.table_starts
        return F.embedding_bag(rows, table, mode="sum")


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
