"""Pixels to floats and back, patches to images and back, and gathering tokens by index."""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Float, Int64, Shaped, UInt8
from torch import Tensor

Patches = Shaped[Tensor, "batch patches patch_dim"]


def to_float(
    pixels: UInt8[Tensor, "batch height width channel"],
) -> Float[Tensor, "batch channel height width"]:
    """8-bit pixels to floats from 0 to 1, channels first."""
    return pixels.permute(0, 3, 1, 2).float().div_(255)


def to_uint8(
    x: Float[Tensor, "batch channel height width"],
) -> UInt8[Tensor, "batch height width channel"]:
    """Floats to 8-bit pixels, channels last: clamped to 0..1 and rounded to the nearest value."""
    return x.clamp(0, 1).mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def patchify(pixels: Shaped[Tensor, "batch height width channel"], patch_size: int) -> Patches:
    """Cut images into square patches in raster order.

    A patch is its pixels row by row, channels last: `patch_dim = patch_size^2 * channels`.
    """
    return rearrange(pixels, "b (h p) (w q) c -> b (h w) (p q c)", p=patch_size, q=patch_size)


def unpatchify(
    patches: Patches, rows: int, patch_size: int
) -> Shaped[Tensor, "batch height width channel"]:
    """Return the inverse of `patchify` for images of `rows` rows of patches."""
    return rearrange(
        patches, "b (h w) (p q c) -> b (h p) (w q) c", h=rows, p=patch_size, q=patch_size
    )


def gather_tokens(
    tokens: Shaped[Tensor, "batch length width"], indices: Int64[Tensor, "batch selected"]
) -> Shaped[Tensor, "batch selected width"]:
    """Return the tokens at `indices` of each sequence, in that order."""
    return tokens.gather(1, indices[..., None].expand(-1, -1, tokens.shape[-1]))
