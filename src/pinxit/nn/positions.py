"""Positional embeddings: rotary (Su 2021), axial rotary for grids, and 2D sine-cosine (He 2021)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

RotaryCache = tuple[Float[Tensor, "length half"], Float[Tensor, "length half"]]  # cosines, sines


def rotary_cache(
    length: int,
    head_dim: int,
    base: float = 10_000.0,
    device: torch.device | None = None,
) -> RotaryCache:
    """Cosines and sines of rotary positions (Su 2021, eq. 34), `[length, head_dim / 2]` each."""
    frequencies = base ** (-torch.arange(0, head_dim, 2, device=device).float() / head_dim)
    angles = torch.arange(length, device=device).float()[:, None] * frequencies
    return angles.cos(), angles.sin()


def axial_rotary_cache(rows: int, columns: int, head_dim: int) -> RotaryCache:
    """Rotary positions on a grid in raster order (Su 2021, in two dimensions).

    The first half of the pairs rotate with the row, the others with the column, by 90 degrees per
    cell for the fastest pair and 3 degrees for the slowest.
    """
    row_pairs = head_dim // 4
    axes = (
        (row_pairs, torch.arange(rows).repeat_interleave(columns)),
        (head_dim // 2 - row_pairs, torch.arange(columns).repeat(rows)),
    )
    parts = []
    for pairs, coordinate in axes:
        frequencies = torch.pi / 2 * 30 ** (-torch.arange(pairs).float() / max(1, pairs))
        parts.append(coordinate.float()[:, None] * frequencies)
    angles = torch.cat(parts, 1)
    return angles.cos(), angles.sin()


def sincos_2d_pos_embed(rows: int, columns: int, width: int) -> Float[Tensor, "patches width"]:
    """Sines and cosines of the column, then of the row (Vaswani 2017, 3.5; He 2021, app. A.1)."""
    frequencies = 10_000.0 ** (-torch.arange(width // 4).double() / (width // 4))
    row, column = torch.meshgrid(
        torch.arange(rows).double(), torch.arange(columns).double(), indexing="ij"
    )
    angles = [coordinate.flatten()[:, None] * frequencies for coordinate in (column, row)]
    return torch.cat([wave for angle in angles for wave in (angle.sin(), angle.cos())], 1).float()


def apply_rotary(x: Float[Tensor, "*rows length head_dim"], rotary: RotaryCache) -> Tensor:
    """Rotate each pair (i, i + head_dim / 2) by the angles of its position."""
    cos, sin = rotary
    a, b = x.chunk(2, -1)
    return x * torch.cat((cos, cos), -1) + torch.cat((b, a), -1) * torch.cat((-sin, sin), -1)
