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
from pinxit.nn.batch_share import (
    BatchShare,
    batch_rand,
    batch_randint,
    common_randint,
    common_randn,
    current_share,
)

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
        dimension = F.one_hot(batch_randint(0, self.dim, *shape, device=device), self.dim)
        step = batch_randint(0, 2, *shape, device=device) * 2 - 1
        step = step * (batch_rand(*shape, device=device) < self.noise)
        half = self.levels // 2
        return (rounded + step[..., None] * dimension).clamp(-half, self.levels - 1 - half)

    def dequantize(self, codes: Codes) -> Vectors:
        """Return the quantized vectors of codes, each dimension from -1 to 1."""
        half = self.levels // 2
        digits = codes[..., None] // self.basis % self.levels
        return (digits - half) / half


class VQ(nn.Module):
    """Vector quantization (van den Oord 2017) with a codebook of exponential moving averages.

    After each batch the codebook follows the encoder's vectors (app. A.1): those of the whole
    batch, also where several processes or micro-batches share it. The first batch passes as it is,
    and the codebook starts from its vectors. A code that is rarely used is reset to a vector of the
    current batch.
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
        self.parts: list[tuple[Tensor, Tensor]] = []  # vectors and codes of the batch so far

    def nearest(self, z: Float[Tensor, "n dim"]) -> Int64[Tensor, " n"]:
        """Return the code of the nearest codebook vector (squared Euclidean distance).

        In fp32 also where a training computes in less: a code in use must be that of the training.
        Relative to the mean of the codebook, since large values would leave few digits to differ.
        """
        with torch.autocast(z.device.type, enabled=False):
            mean = self.codebook.mean(0)
            codebook, centered = self.codebook - mean, z.float() - mean
            distance = codebook.square().sum(1) - 2 * centered @ codebook.T
            return distance.argmin(1)

    def forward(self, z: Vectors) -> Quantized:
        flat = z.detach().reshape(-1, self.dim).float()
        codes = self.nearest(flat)
        quantized = self.codebook[codes].reshape(z.shape)
        if self.training:
            if not self.counts.any():
                quantized = z.detach().float()
            self._collect(flat.reshape(len(z), -1, self.dim), codes)
        commitment = F.mse_loss(z.float(), quantized)
        return Quantized(z + (quantized - z).detach(), codes.reshape(z.shape[:-1]), commitment)

    def dequantize(self, codes: Codes) -> Vectors:
        """Return the codebook vectors of codes."""
        return self.codebook[codes]

    @torch.no_grad()
    def _collect(self, vectors: Float[Tensor, "b positions dim"], codes: Codes) -> None:
        """Add a part of the batch, and update the codebook after its last one."""
        share = current_share()
        if share.index < share.world_size:
            self.parts = []  # an interrupted batch is forgotten
        self.parts.append((vectors, codes))
        if share.is_last:
            parts, self.parts = self.parts, []
            self._update_codebook(parts, share)

    def _update_codebook(self, parts: list[tuple[Tensor, Tensor]], share: BatchShare) -> None:
        flat = torch.cat([vectors.flatten(0, 1) for vectors, _ in parts])
        codes = torch.cat([codes for _, codes in parts])
        count = torch.bincount(codes, minlength=len(self.counts)).float()
        total = torch.zeros_like(self.sums).index_add_(0, codes, flat)
        summed = share.sum_over_processes(torch.cat([count[:, None], total], 1))
        count, total = summed[:, 0], summed[:, 1:]
        average = count.sum() / len(count)
        if not self.counts.any():
            used = torch.zeros_like(count, dtype=torch.bool)
        else:
            self.counts.lerp_(count, 1 - self.EMA_DECAY)
            self.sums.lerp_(total, 1 - self.EMA_DECAY)
            used = self.counts > self.DEAD_USAGE * average
            self.codebook[used] = self.sums[used] / self.counts[used, None]
        if not used.all():
            vectors = _sample_vectors(parts, share, int((~used).sum()))
            self._reset(~used, vectors, average)

    def _reset(self, dead: Tensor, vectors: Float[Tensor, "n dim"], average: Tensor) -> None:
        noise = common_randn(tuple(vectors.shape), vectors.device)
        self.codebook[dead] = vectors + 1e-3 * noise
        self.counts[dead] = average
        self.sums[dead] = average * self.codebook[dead]


def _sample_vectors(
    parts: list[tuple[Tensor, Tensor]], share: BatchShare, n: int
) -> Float[Tensor, "n dim"]:
    """Sample n vectors of the whole batch, the same in every process."""
    example = parts[0][0]
    num_rows = share.size or len(example)
    num_positions, device = example.shape[1], example.device
    chosen = common_randint(num_rows * num_positions, (n,), device)
    row, position = chosen // num_positions, chosen % num_positions
    sampled = example.new_zeros(n, example.shape[2])
    for number, (vectors, _) in enumerate(parts):
        own = row % share.count == share.index % share.world_size + number * share.world_size
        sampled[own] = vectors[row[own] // share.count, position[own]]
    return share.sum_over_processes(sampled)


def build_quantizer(config: Config) -> FSQ | VQ:
    """Return the quantizer of a configuration; `dim` is the dimension of its vectors."""
    if config.quantizer == "fsq":
        return FSQ(config.fsq_levels, config.code_noise)
    return VQ(config.codebook_size, config.codebook_dim)
