"""Random orders of an image's patches: the first ones are visible, the others are masked.

Each kind of masking gives every patch a score and sorts by it, so that exactly the stated number
of patches is visible.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from pinxit.nn.batch_share import batch_rand, batch_randint

Masking = Literal["random", "block", "grid"]
Order = Int64[Tensor, "batch patches"]
Positions = Int64[Tensor, "patches two"]  # row and column of each patch

NUM_RECTANGLES = 3  # per image, in block masking
BAYER_BITS = 6  # of the ordered dither matrix, 64 x 64


def num_visible(num_patches: int, mask_ratio: float) -> int:
    """round((1 - mask_ratio) * num_patches), but at least one and never all."""
    return min(max(1, round((1 - mask_ratio) * num_patches)), num_patches - 1)


def mask_order(kind: Masking, batch: int, rows: int, columns: int, device: torch.device) -> Order:
    """Return a random order of the patches of each image; the first ones are visible."""
    noise = batch_rand(batch, rows * columns, device=device)
    if kind == "random":
        return noise.argsort(1)
    positions = torch.stack(
        torch.meshgrid(
            torch.arange(rows, device=device), torch.arange(columns, device=device), indexing="ij"
        ),
        -1,
    ).flatten(0, 1)
    if kind == "grid":
        return (_bayer_rank(batch, positions) + noise).argsort(1)
    distance = _distance_to_rectangles(batch, rows, columns, positions)
    return (distance + 1e-4 * noise).argsort(1, descending=True)


def inverse_order(order: Order) -> Order:
    """Return the inverse permutation: the index of each patch in the order."""
    return order.argsort(1)


def _bayer_rank(batch: int, positions: Positions) -> Float[Tensor, "batch patches"]:
    """Ranks of an ordered dither (Bayer 1973), shifted at random: low ranks are evenly spread.

    The lowest quarter of the ranks is every second patch of every second row.
    """
    size = 2**BAYER_BITS
    shifted = positions + batch_randint(0, size, batch, 1, 2, device=positions.device)
    row, column = shifted.unbind(-1)
    rank = torch.zeros_like(row)
    for bit in range(BAYER_BITS):  # interleave the bits of row ^ column and column, reversed
        a, b = row >> bit & 1, column >> bit & 1
        rank = rank * 4 + 2 * (a ^ b) + b
    return rank.float()


def _distance_to_rectangles(
    batch: int, rows: int, columns: int, positions: Positions
) -> Float[Tensor, "batch patches"]:
    """Distance to the nearest of a few random rectangles, each with its own aspect ratio."""
    device = positions.device
    row, column = batch_rand(batch, NUM_RECTANGLES, 1, 2, device=device).unbind(-1)
    center = torch.stack((row * rows, column * columns), -1)
    log_aspect = 1.4 * batch_rand(batch, NUM_RECTANGLES, 1, 1, device=device) - 0.7
    extent = torch.cat((log_aspect, -log_aspect), -1).exp()  # aspect ratios 1:4 to 4:1, as BEiT
    distance = (positions + 0.5 - center).abs() / extent
    return distance.amax(-1).amin(1)
