"""Patches of images, which of them are hidden, and where they stand.

A mask is made by ordering the patches of each image by a score: the first are seen. So exactly
the stated count is seen, whatever the kind of masking.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

Masking = Literal["random", "block", "grid"]
Order = Int64[Tensor, "batch patches"]

RECTANGLES = 3  # of block masking


def seen_count(patches: int, ratio: float) -> int:
    """Patches that are left: round((1 - ratio) * patches), but one at least and never all."""
    return min(max(1, round((1 - ratio) * patches)), patches - 1)


def order(kind: Masking, batch: int, rows: int, columns: int, device: torch.device) -> Order:
    """The patches of each image in an order of chance; those seen are the first of it."""
    noise = torch.rand(batch, rows * columns, device=device)
    if kind == "random":
        return noise.argsort(1)
    place = torch.stack(
        torch.meshgrid(
            torch.arange(rows, device=device), torch.arange(columns, device=device), indexing="ij"
        ),
        -1,
    ).flatten(0, 1)
    if kind == "grid":
        return (_lattice(batch, place) + noise).argsort(1)
    return (_outside(batch, rows, columns, place) + 1e-4 * noise).argsort(1, descending=True)


def _lattice(batch: int, place: Int64[Tensor, "patches two"]) -> Float[Tensor, "batch patches"]:
    """Ranks of an ordered dither (Bayer 1973), moved at random: the first ones lie evenly.

    A quarter of the ranks is every second place of every second row.
    """
    moved = place + torch.randint(64, (batch, 1, 2), device=place.device)
    row, column = moved.unbind(-1)
    rank = torch.zeros_like(row)
    for bit in range(6):  # a pattern of 64 x 64, its places' bits reversed and interleaved
        a, b = row >> bit & 1, column >> bit & 1
        rank = rank * 4 + 2 * (a ^ b) + b
    return rank.float()


def _outside(
    batch: int, rows: int, columns: int, place: Int64[Tensor, "patches two"]
) -> Float[Tensor, "batch patches"]:
    """How far a place is from the nearest of a few rectangles that grow, each of its own shape."""
    device = place.device
    size = torch.tensor([rows, columns], device=device, dtype=torch.float)
    centre = torch.rand(batch, RECTANGLES, 1, 2, device=device) * size
    stretch = torch.empty(batch, RECTANGLES, 1, 1, device=device).uniform_(-0.7, 0.7)
    shape = torch.cat((stretch, -stretch), -1).exp()  # as BEiT: aspects of 1 : 4 to 4 : 1
    far = (place + 0.5 - centre).abs() / shape
    return far.amax(-1).amin(1)


def restoring(shuffled: Order) -> Order:
    """The inverse permutation: where in the order each patch stands."""
    return shuffled.argsort(1)
