"""Vectors to integers and back, with gradients that pass as if nothing had been rounded."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from pinxit.models.tokenizer.config import Config

Vectors = Float[Tensor, "... dim"]
Codes = Int64[Tensor, "..."]


class Quantized(NamedTuple):
    """Rounded vectors (straight-through), their codes, and what the rounding costs the encoder."""

    vectors: Vectors
    codes: Codes
    commitment: Float[Tensor, ""]


class FSQ(nn.Module):
    """Finite scalar quantization (Mentzer 2023): each number to one of a few even levels."""

    levels: Tensor
    places: Tensor

    def __init__(self, levels: tuple[int, ...], noise: float = 0.0) -> None:
        super().__init__()
        self.dim, self.noise = len(levels), noise
        counts = torch.tensor(levels)
        self.register_buffer("levels", counts, persistent=False)
        places = torch.cat([torch.ones(1, dtype=torch.long), counts.cumprod(0)[:-1]])
        self.register_buffer("places", places, persistent=False)

    def bounded(self, z: Vectors) -> Vectors:
        """Into the span of the levels; an even number of them is moved by half a step (app. A)."""
        half = (self.levels - 1) * (1 - 1e-3) / 2
        offset = torch.where(self.levels % 2 == 0, 0.5, 0.0)
        return torch.tanh(z + torch.atanh(offset / half)) * half - offset

    def forward(self, z: Vectors) -> Quantized:
        bounded = self.bounded(z)
        half, whole = self.levels // 2, bounded.detach().round()
        codes = ((whole + half).long() * self.places).sum(-1)
        if self.training and self.noise:
            whole = self.moved(whole)
        rounded = bounded + (whole - bounded).detach()
        return Quantized(rounded / half, codes, z.new_zeros(()))

    def moved(self, whole: Vectors) -> Vectors:
        """A share `noise` of the vectors with one number a level higher or lower."""
        which = F.one_hot(torch.randint(self.dim, whole.shape[:-1], device=whole.device), self.dim)
        step = torch.randint(2, whole.shape[:-1], device=whole.device) * 2 - 1
        step = step * (torch.rand(whole.shape[:-1], device=whole.device) < self.noise)
        half = self.levels // 2
        return (whole + step[..., None] * which).clamp(-half, self.levels - 1 - half)

    def vectors(self, codes: Codes) -> Vectors:
        """The rounded vectors of codes, each number from -1 to 1."""
        half = self.levels // 2
        digits = codes[..., None] // self.places % self.levels
        return (digits - half) / half


class VQ(nn.Module):
    """Vector quantization (van den Oord 2017): the nearest of a codebook of running averages.

    The codebook follows the vectors by their exponential averages (app. A.1); a code that no
    vector has come near for a while is put where a vector of the batch is.
    """

    codebook: Tensor
    counts: Tensor
    sums: Tensor

    DECAY = 0.99
    DEAD = 0.03  # of the average use: below it a code is revived

    def __init__(self, codes: int, dim: int) -> None:
        super().__init__()
        self.dim = dim
        codebook = torch.randn(codes, dim)
        self.register_buffer("codebook", codebook)
        self.register_buffer("counts", torch.zeros(codes))
        self.register_buffer("sums", codebook.clone())

    def nearest(self, z: Float[Tensor, "n dim"]) -> Int64[Tensor, " n"]:
        distance = self.codebook.square().sum(1) - 2 * z @ self.codebook.T
        return distance.argmin(1)

    def forward(self, z: Vectors) -> Quantized:
        flat = z.detach().reshape(-1, self.dim).float()
        if self.training and not self.counts.any():
            self._start(flat)
        codes = self.nearest(flat)
        if self.training:
            self._follow(flat, codes)
        chosen = self.codebook[codes].reshape(z.shape)
        commitment = F.mse_loss(z.float(), chosen)
        return Quantized(z + (chosen - z).detach(), codes.reshape(z.shape[:-1]), commitment)

    def vectors(self, codes: Codes) -> Vectors:
        return self.codebook[codes]

    @torch.no_grad()
    def _start(self, flat: Float[Tensor, "n dim"]) -> None:
        """The codebook begins at vectors of the first batch."""
        self._revive(flat, torch.ones_like(self.counts, dtype=torch.bool))

    @torch.no_grad()
    def _follow(self, flat: Float[Tensor, "n dim"], codes: Int64[Tensor, " n"]) -> None:
        count = torch.bincount(codes, minlength=len(self.counts)).float()
        total = torch.zeros_like(self.sums).index_add_(0, codes, flat)
        self.counts.lerp_(count, 1 - self.DECAY)
        self.sums.lerp_(total, 1 - self.DECAY)
        used = self.counts > self.DEAD * len(flat) / len(self.counts)
        self.codebook[used] = self.sums[used] / self.counts[used, None]
        if not used.all():
            self._revive(flat, ~used)

    def _revive(self, flat: Float[Tensor, "n dim"], dead: Tensor) -> None:
        chosen = flat[torch.randint(len(flat), (int(dead.sum()),), device=flat.device)]
        self.codebook[dead] = chosen + 1e-3 * torch.randn_like(chosen)
        average = len(flat) / len(self.counts)
        self.counts[dead] = average
        self.sums[dead] = average * self.codebook[dead]


def quantizer(config: Config) -> FSQ | VQ:
    """The quantizer of a configuration; it has `dim`, the numbers in a vector."""
    if config.quantizer == "fsq":
        return FSQ(config.fsq_levels, config.code_noise)
    return VQ(config.codebook_size, config.codebook_dim)
