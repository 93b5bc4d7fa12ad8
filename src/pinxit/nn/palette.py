"""Palettes: vector quantization of image patches by a fixed list of patches (Chen 2020, 3.1).

A palette is uint8 `[size, patch_dim]`; each row (entry) is a patch, as `patchify` orders
its pixels. The token of a patch is the index of the nearest entry.

    binary    every patch of black and white pixels: 2^patch_dim entries
    levels    grey levels of single pixels
    kmeans    cluster centers of the training patches
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from pinxit.data.images import Images
from pinxit.errors import UsageError
from pinxit.nn.kmeans import kmeans
from pinxit.nn.pixels import patchify, unpatchify

PaletteKind = Literal["binary", "levels", "kmeans"]
Palette = UInt8[Tensor, "size patch_dim"]
Tokens = Int64[Tensor, "batch tokens"]

DEFAULT_PALETTE_SIZE = 512  # as in Chen 2020
MAX_KMEANS_SAMPLES = 200_000  # patches
MAX_KMEANS_ITERATIONS = 20
MID_GREY = 128  # for tokens that are not generated yet


class PaletteSpec(NamedTuple):
    """The palette to fit."""

    kind: PaletteKind
    patch_size: int  # pixels per side
    size: int | None = None  # None: 512, or all distinct patches if there are fewer


def quantize(
    patches: UInt8[Tensor, "batch tokens patch_dim"], palette: Palette, kind: PaletteKind
) -> Tokens:
    """Return the index of each patch's nearest palette entry, the first if several tie."""
    if kind == "binary":
        powers = 2 ** torch.arange(patches.shape[-1], device=patches.device)
        return ((patches > 127) * powers).sum(-1)
    if kind == "levels":
        level = torch.arange(256, device=patches.device)[:, None]
        return (level - palette[:, 0].long()).abs().argmin(1)[patches[..., 0].long()]
    with torch.autocast(patches.device.type, enabled=False):  # the same in any precision
        x, entries = patches.float() - 128, palette.float() - 128
        return (entries.square().sum(1) - 2 * x @ entries.T).argmin(-1)


def dequantize(
    tokens: Tokens, palette: Palette, rows: int, patch_size: int
) -> UInt8[Tensor, "batch height width channel"]:
    """Return images of `rows` rows of patches; tokens below 0 are mid-grey."""
    patches = palette[tokens.clamp(min=0)]
    grey = torch.full_like(patches[:1, :1], MID_GREY)
    return unpatchify(torch.where(tokens[..., None] < 0, grey, patches), rows, patch_size)


def initial_palette(kind: PaletteKind, size: int, patch_dim: int) -> Palette:
    """Return the palette before fitting; a `binary` palette is not fitted.

    `levels` are evenly spaced, `kmeans` entries are random.
    """
    if kind == "binary":
        bits = torch.arange(2**patch_dim)[:, None] >> torch.arange(patch_dim) & 1
        return (255 * bits).to(torch.uint8)
    if kind == "levels":
        return torch.linspace(0, 255, size).round().to(torch.uint8)[:, None]
    random = torch.Generator().manual_seed(0)
    return torch.randint(256, (size, patch_dim), generator=random).to(torch.uint8)


def fit_palette(
    spec: PaletteSpec, images: Images, rows: np.ndarray, seed: int
) -> tuple[Palette, Tensor]:
    """Fit a palette to the images `rows`; the same seed gives the same palette.

    Returns the palette, and a bool tensor: whether it holds every sampled patch exactly. Raises
    UsageError if `spec.size` is above the number of distinct patches.
    """
    if spec.kind == "binary":
        patch_dim = spec.patch_size**2 * images.channels
        return initial_palette("binary", 0, patch_dim), torch.tensor(True)
    patches = _sample_patches(spec, images, rows, seed)
    distinct, counts = np.unique(patches, axis=0, return_counts=True)
    if spec.size is not None and spec.size > len(distinct):
        what = "grey levels" if spec.kind == "levels" else "distinct patches"
        raise UsageError(
            f"--palette-size {spec.size} is above the {len(distinct)} {what} of these images; "
            "choose a smaller one, or leave it out."
        )
    size = spec.size or (256 if spec.kind == "levels" else DEFAULT_PALETTE_SIZE)
    if len(distinct) <= size:
        return torch.from_numpy(distinct), torch.tensor(True)
    if spec.kind == "levels":
        return _quantiles(distinct[:, 0], counts, size), torch.tensor(False)
    return _kmeans(patches, size, seed), torch.tensor(False)


def _sample_patches(
    spec: PaletteSpec, images: Images, rows: np.ndarray, seed: int
) -> UInt8[np.ndarray, "patches patch_dim"]:
    """Patches of the training images, for k-means at most `MAX_KMEANS_SAMPLES`."""
    random = np.random.default_rng(seed)
    if spec.kind == "kmeans":
        patches_per_image = images.height * images.width // spec.patch_size**2
        max_images = max(1, MAX_KMEANS_SAMPLES // min(patches_per_image, 64))
        rows = np.sort(random.permutation(rows)[:max_images])
    patches = patchify(torch.from_numpy(np.array(images.pixels[rows])), spec.patch_size)
    flat = patches.flatten(0, 1).numpy()
    if spec.kind == "levels" or len(flat) <= MAX_KMEANS_SAMPLES:
        return flat
    return flat[random.choice(len(flat), MAX_KMEANS_SAMPLES, replace=False)]


def _quantiles(levels: np.ndarray, counts: np.ndarray, size: int) -> Palette:
    """Levels with equally many pixels between them, black and white included."""
    cumulative = np.cumsum(counts) / counts.sum()
    indices = np.searchsorted(cumulative, np.linspace(0, 1, size)).clip(0, len(levels) - 1)
    chosen = np.unique(levels[indices])
    unused = np.setdiff1d(levels, chosen)
    missing = size - len(chosen)  # a frequent level can be more than one quantile
    fill = unused[np.linspace(0, len(unused) - 1, missing).round().astype(int)] if missing else []
    return torch.from_numpy(np.union1d(chosen, fill).astype(np.uint8))[:, None]


def _kmeans(patches: np.ndarray, size: int, seed: int) -> Palette:
    """k-means cluster centers (Chen 2020, 3.1)."""
    points = torch.from_numpy(patches.astype(np.float32))
    centers = kmeans(points, size, seed % 2**32, max_iterations=MAX_KMEANS_ITERATIONS)
    return centers.clamp(0, 255).round().to(torch.uint8)
