"""Pixels to floats and back, patches to images and back, and gathering tokens by index."""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Float, Int64, Shaped, UInt8
from torch import Tensor

Chosen = Int64[Tensor, "batch some"]  # places in a sequence


def gather_tokens(
    rows: Shaped[Tensor, "batch all width"], chosen: Chosen
) -> Shaped[Tensor, "batch some width"]:
    """Some places of each sequence, in the order asked for."""
    return rows.gather(1, chosen[..., None].expand(-1, -1, rows.shape[-1]))


def to_float(
    pixels: UInt8[Tensor, "batch height width channel"],
) -> Float[Tensor, "batch channel height width"]:
    """Pixels at rest to floats from 0 to 1, channels first."""
    return pixels.permute(0, 3, 1, 2).float().div_(255)


def to_uint8(
    x: Float[Tensor, "batch channel height width"],
) -> UInt8[Tensor, "batch height width channel"]:
    """Floats from 0 to 1 to pixels at rest, rounded to the nearest of 256."""
    return x.clamp(0, 1).mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def blocks_of(pixels: UInt8[Tensor, "b h w c"], block: int) -> UInt8[Tensor, "b tokens numbers"]:
    """Blocks row by row from the top left."""
    return rearrange(pixels, "b (h p) (w q) c -> b (h w) (p q c)", p=block, q=block)


def pixels_of(
    blocks: UInt8[Tensor, "b tokens numbers"], rows: int, block: int
) -> UInt8[Tensor, "b h w c"]:
    """The inverse of `blocks_of`; `rows` of blocks stand on one another."""
    return rearrange(blocks, "b (h w) (p q c) -> b (h p) (w q) c", h=rows, p=block, q=block)


Patches = Shaped[Tensor, "batch patches numbers"]


def patchify(pixels: Shaped[Tensor, "b h w c"], patch: int) -> Patches:
    """Patches row by row from the top left; each its pixels row by row, a pixel's channels last."""
    return rearrange(pixels, "b (h p) (w q) c -> b (h w) (p q c)", p=patch, q=patch)


def unpatchify(patches: Patches, rows: int, patch: int) -> Shaped[Tensor, "b h w c"]:
    """The inverse of `patchify`; `rows` of patches stand on one another."""
    return rearrange(patches, "b (h w) (p q c) -> b (h p) (w q) c", h=rows, p=patch, q=patch)
