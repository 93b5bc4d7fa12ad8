"""Colours that stand for blocks of pixels.

A block is its p x p pixels row by row, a pixel's channels last; a palette is uint8
`[colors, p * p * channels]`. A token is the number of the nearest colour.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from pinxit.data.images import Images
from pinxit.errors import UsageError
from pinxit.nn.pixels import blocks_of, pixels_of

Palette = UInt8[Tensor, "colors numbers"]
Tokens = Int64[Tensor, "batch tokens"]

COLORS = 512  # as in the paper
LOOKED_AT = 200_000  # blocks that the clusters are found from


class Wanted(NamedTuple):
    """What palette is asked for."""

    kind: Literal["binary", "levels", "kmeans"]
    block: int  # pixels a side
    colors: int | None = None  # None: as many as there are, 512 at most


def nearest(blocks: UInt8[Tensor, "b tokens numbers"], palette: Palette, kind: str) -> Tokens:
    """The number of each block's nearest colour; of equally near ones the first."""
    if kind == "binary":
        powers = 2 ** torch.arange(blocks.shape[-1], device=blocks.device)
        return ((blocks > 127) * powers).sum(-1)
    if kind == "levels":
        level = torch.arange(256, device=blocks.device)[:, None]
        return (level - palette[:, 0].long()).abs().argmin(1)[blocks[..., 0].long()]
    x, colors = blocks.float() - 128, palette.float() - 128
    return (colors.square().sum(1) - 2 * x @ colors.T).argmin(-1)


def coloured(tokens: Tokens, palette: Palette, rows: int, block: int) -> UInt8[Tensor, "b h w c"]:
    """The palette's colours in their places; a token below 0 is mid-grey."""
    blocks = palette[tokens.clamp(min=0)]
    blocks = torch.where(tokens[..., None] < 0, torch.full_like(blocks[:1, :1], 128), blocks)
    return pixels_of(blocks, rows, block)


def unprepared(kind: str, colors: int, numbers: int) -> Palette:
    """A palette without images: all binary blocks, even levels, or colours of chance."""
    if kind == "binary":
        bits = torch.arange(2**numbers)[:, None] >> torch.arange(numbers) & 1
        return (255 * bits).to(torch.uint8)
    if kind == "levels":
        return torch.linspace(0, 255, colors).round().to(torch.uint8)[:, None]
    random = torch.Generator().manual_seed(0)
    return torch.randint(256, (colors, numbers), generator=random).to(torch.uint8)


def found(wanted: Wanted, images: Images, rows: np.ndarray, seed: int) -> tuple[Palette, Tensor]:
    """The palette of these images, and whether it holds all that was looked at exactly.

    The same for the same seed. Raises UsageError where more colours are asked for than there are.
    """
    if wanted.kind == "binary":
        numbers = wanted.block**2 * images.channels
        return unprepared("binary", 0, numbers), torch.tensor(True)
    looked = _looked_at(wanted, images, rows, seed)
    distinct, counts = np.unique(looked, axis=0, return_counts=True)
    if wanted.colors is not None and wanted.colors > len(distinct):
        what = "grey levels" if wanted.kind == "levels" else "different blocks"
        raise UsageError(
            f"{wanted.colors} colours were asked for, and the images have {len(distinct)} "
            f"{what}; leave --colors out, or ask for fewer."
        )
    colors = wanted.colors or (256 if wanted.kind == "levels" else COLORS)
    if len(distinct) <= colors:
        return torch.from_numpy(distinct), torch.tensor(True)
    if wanted.kind == "levels":
        return _quantiles(distinct[:, 0], counts, colors), torch.tensor(False)
    return _clusters(looked, colors, seed), torch.tensor(False)


def _looked_at(wanted: Wanted, images: Images, rows: np.ndarray, seed: int) -> np.ndarray:
    """Blocks of the training images, at most so many."""
    random = np.random.default_rng(seed)
    if wanted.kind == "kmeans":
        tokens = images.height * images.width // wanted.block**2
        most = max(1, LOOKED_AT // min(tokens, 64))
        rows = np.sort(random.permutation(rows)[:most])
    blocks = blocks_of(torch.from_numpy(np.array(images.pixels[rows])), wanted.block)
    flat = blocks.flatten(0, 1).numpy()
    if wanted.kind == "levels" or len(flat) <= LOOKED_AT:
        return flat
    return flat[random.choice(len(flat), LOOKED_AT, replace=False)]


def _quantiles(levels: np.ndarray, counts: np.ndarray, colors: int) -> Palette:
    """Levels between which equally many pixels lie, black and white among them."""
    share = np.cumsum(counts) / counts.sum()
    at = np.searchsorted(share, np.linspace(0, 1, colors)).clip(0, len(levels) - 1)
    chosen = np.unique(levels[at])
    spare = np.setdiff1d(levels, chosen)  # a frequent level is more than one quantile
    wanted = colors - len(chosen)
    even = spare[np.linspace(0, len(spare) - 1, wanted).round().astype(int)] if wanted > 0 else []
    return torch.from_numpy(np.union1d(chosen, even).astype(np.uint8))[:, None]


def _clusters(blocks: np.ndarray, colors: int, seed: int) -> Palette:
    """k-means (the paper's section 3.1, by mini-batches: Sculley 2010)."""
    import warnings

    from sklearn.cluster import MiniBatchKMeans

    means = MiniBatchKMeans(
        colors,
        batch_size=8_192,
        n_init=1,  # pyright: ignore[reportArgumentType]
        max_iter=20,
        random_state=seed % 2**32,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of clusters that ended up alike
        means.fit(blocks.astype(np.float32))
    centres = np.asarray(means.cluster_centers_)
    return torch.from_numpy(centres.clip(0, 255).round().astype(np.uint8))
