"""Positional embeddings: rotary (Su 2021), axial rotary for grids, and 2D sine-cosine (He 2021)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

RotaryCache = tuple[Float[Tensor, "length half"], Float[Tensor, "length half"]]  # cosines, sines


def rotary_cache(length: int, head: int, base: float = 10_000.0) -> RotaryCache:
    """Cosines and sines of rotary positions (Su 2021, eq. 34), `[length, head / 2]` each."""
    rates = base ** (-torch.arange(0, head, 2).float() / head)
    angles = torch.arange(length).float()[:, None] * rates
    return angles.cos(), angles.sin()


def axial_rotary_cache(rows: int, columns: int, head: int) -> RotaryCache:
    """Rotary positions on a grid, row by row: the first half of the pairs turn with the row, the
    others with the column, by 90 degrees a place down to 3 (Su 2021, in two dimensions)."""
    upright = head // 4
    parts = []
    for count, place in (
        (upright, torch.arange(rows).repeat_interleave(columns)),
        (head // 2 - upright, torch.arange(columns).repeat(rows)),
    ):
        rates = torch.pi / 2 * 30 ** (-torch.arange(count).float() / max(1, count))
        parts.append(place.float()[:, None] * rates)
    angles = torch.cat(parts, 1)
    return angles.cos(), angles.sin()


def sincos_2d_pos_embed(rows: int, columns: int, width: int) -> Float[Tensor, "patches width"]:
    """Sines and cosines of the column, then of the row (Vaswani 2017, 3.5; He 2021, app. A.1)."""
    rates = 10_000.0 ** (-torch.arange(width // 4).double() / (width // 4))
    row, column = torch.meshgrid(
        torch.arange(rows).double(), torch.arange(columns).double(), indexing="ij"
    )
    parts = [place.flatten()[:, None] * rates for place in (column, row)]
    return torch.cat([wave for part in parts for wave in (part.sin(), part.cos())], 1).float()


def apply_rotary(x: Float[Tensor, "*rows length head"], rotation: RotaryCache) -> Tensor:
    """Pairs (i, i + head / 2) turned by their position's angles."""
    cos, sin = rotation
    a, b = x.chunk(2, -1)
    return x * torch.cat((cos, cos), -1) + torch.cat((b, a), -1) * torch.cat((-sin, sin), -1)
