"""Vectors to codes and back, with straight-through gradients.

Finite scalar quantization (FSQ) has no codebook to learn; vector quantization (VQ) learns one.
"""

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
    """Quantized vectors (straight-through), their codes, and the commitment loss."""

    vectors: Vectors
    codes: Codes
    commitment: Float[Tensor, ""]


class FSQ(nn.Module):
    """Finite scalar quantization (Mentzer 2023): each dimension is rounded to one of a few levels.

    `basis` holds the place values of the digits of a code (their section 3). `noise` is the
    probability of shifting a code by one level during training.
    """

    levels: Tensor
    basis: Tensor

    def __init__(self, levels: tuple[int, ...], noise: float = 0.0) -> None:
        super().__init__()
        self.dim, self.noise = len(levels), noise
        counts = torch.tensor(levels)
        basis = torch.cat([torch.ones(1, dtype=torch.long), counts.cumprod(0)[:-1]])
        self.register_buffer("levels", counts, persistent=False)
        self.register_buffer("basis", basis, persistent=False)

    def bound(self, z: Vectors) -> Vectors:
        """Squash z into the range of the levels; an even number is shifted by 1/2 (app. A)."""
        half_width = (self.levels - 1) * (1 - 1e-3) / 2
        offset = torch.where(self.levels % 2 == 0, 0.5, 0.0)
        return torch.tanh(z + torch.atanh(offset / half_width)) * half_width - offset

    def forward(self, z: Vectors) -> Quantized:
        bounded = self.bound(z)
        half, rounded = self.levels // 2, bounded.detach().round()
        codes = ((rounded + half).long() * self.basis).sum(-1)
        if self.training and self.noise:
            rounded = self.perturb(rounded)
        straight_through = bounded + (rounded - bounded).detach()
        return Quantized(straight_through / half, codes, z.new_zeros(()))

    def perturb(self, rounded: Vectors) -> Vectors:
        """Shift one dimension by one level up or down, with probability `noise` per vector."""
        shape, device = rounded.shape[:-1], rounded.device
        dimension = F.one_hot(torch.randint(self.dim, shape, device=device), self.dim)
        step = torch.randint(2, shape, device=device) * 2 - 1
        step = step * (torch.rand(shape, device=device) < self.noise)
        half = self.levels // 2
        return (rounded + step[..., None] * dimension).clamp(-half, self.levels - 1 - half)

    def dequantize(self, codes: Codes) -> Vectors:
        """Return the quantized vectors of codes, each dimension from -1 to 1."""
        half = self.levels // 2
        digits = codes[..., None] // self.basis % self.levels
        return (digits - half) / half


class VQ(nn.Module):
    """Vector quantization (van den Oord 2017) with a codebook of exponential moving averages.

    The codebook follows the encoder's vectors (app. A.1). A code that is rarely used is reset to a
    vector of the current batch.
    """

    codebook: Tensor
    counts: Tensor
    sums: Tensor

    EMA_DECAY = 0.99
    DEAD_USAGE = 0.03  # fraction of the average usage below which a code is reset

    def __init__(self, codebook_size: int, dim: int) -> None:
        super().__init__()
        self.dim = dim
        codebook = torch.randn(codebook_size, dim)
        self.register_buffer("codebook", codebook)
        self.register_buffer("counts", torch.zeros(codebook_size))
        self.register_buffer("sums", codebook.clone())

    def nearest(self, z: Float[Tensor, "n dim"]) -> Int64[Tensor, " n"]:
        """Return the code of the nearest codebook vector (squared Euclidean distance)."""
        distance = self.codebook.square().sum(1) - 2 * z @ self.codebook.T
        return distance.argmin(1)

    def forward(self, z: Vectors) -> Quantized:
        flat = z.detach().reshape(-1, self.dim).float()
        if self.training and not self.counts.any():
            self._init_codebook(flat)
        codes = self.nearest(flat)
        if self.training:
            self._update_ema(flat, codes)
        quantized = self.codebook[codes].reshape(z.shape)
        commitment = F.mse_loss(z.float(), quantized)
        return Quantized(z + (quantized - z).detach(), codes.reshape(z.shape[:-1]), commitment)

    def dequantize(self, codes: Codes) -> Vectors:
        """Return the codebook vectors of codes."""
        return self.codebook[codes]

    @torch.no_grad()
    def _init_codebook(self, flat: Float[Tensor, "n dim"]) -> None:
        """Start from vectors of the first batch."""
        self._reset_dead_codes(flat, torch.ones_like(self.counts, dtype=torch.bool))

    @torch.no_grad()
    def _update_ema(self, flat: Float[Tensor, "n dim"], codes: Int64[Tensor, " n"]) -> None:
        count = torch.bincount(codes, minlength=len(self.counts)).float()
        total = torch.zeros_like(self.sums).index_add_(0, codes, flat)
        self.counts.lerp_(count, 1 - self.EMA_DECAY)
        self.sums.lerp_(total, 1 - self.EMA_DECAY)
        used = self.counts > self.DEAD_USAGE * len(flat) / len(self.counts)
        self.codebook[used] = self.sums[used] / self.counts[used, None]
        if not used.all():
            self._reset_dead_codes(flat, ~used)

    def _reset_dead_codes(self, flat: Float[Tensor, "n dim"], dead: Tensor) -> None:
        vectors = flat[torch.randint(len(flat), (int(dead.sum()),), device=flat.device)]
        self.codebook[dead] = vectors + 1e-3 * torch.randn_like(vectors)
        average = len(flat) / len(self.counts)
        self.counts[dead] = average
        self.sums[dead] = average * self.codebook[dead]


def build_quantizer(config: Config) -> FSQ | VQ:
    """Return the quantizer of a configuration; `dim` is the dimension of its vectors."""
    if config.quantizer == "fsq":
        return FSQ(config.fsq_levels, config.code_noise)
    return VQ(config.codebook_size, config.codebook_dim)
