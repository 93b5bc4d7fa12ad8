"""What the families share: chance per image, work in equal chunks, residual blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, Shaped, UInt8
from torch import Tensor, nn

from pinxit.errors import UsageError
from pinxit.models.contract import Seed

Chosen = Int64[Tensor, "batch some"]  # places in a sequence

CHUNK = 64  # images a chunk; an image's slot and its chunk's shape never depend on the request


def mix(seed: int, number: int) -> int:
    """One 63-bit seed from two numbers by splitmix64's finaliser: near pairs end far apart."""
    z = (seed * 0x9E3779B97F4A7C15 + number * 0xBF58476D1CE4E5B9 + 0x94D049BB133111EB) % 2**64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return (z ^ (z >> 31)) >> 1


def seeds_of(seed: Seed, n: int, start: int = 0) -> Sequence[int]:
    """A seed for each of `n` images: mixed from (seed, start + i), or as they are given.

    Raises UsageError for as many seeds as there are not images.
    """
    if isinstance(seed, int):
        return [mix(seed, start + i) for i in range(n)]
    if len(seed) != n:
        raise UsageError(f"there are {n} images and {len(seed)} seeds.")
    return seed


def image_noise(
    n: int, shape: tuple[int, ...], seed: Seed, start: int = 0
) -> Float[Tensor, "n ..."]:
    """Standard normal noise with a generator for each image: row i is a function of its seed."""
    generator = torch.Generator()
    rows = torch.empty(n, *shape)
    for i, one in enumerate(seeds_of(seed, n, start)):
        generator.manual_seed(one)
        rows[i].normal_(generator=generator)
    return rows


def in_chunks(
    function: Callable[..., Tensor | tuple[Tensor, ...]], *rows: Tensor | None, size: int = CHUNK
) -> list[Tensor]:
    """`function` over rows in chunks of exactly `size`, the last one padded with its last row.

    A matrix product's rounding depends on its shape, so equal shapes make an image's result
    the same bit for bit whatever stands beside it. Returns a list: one tensor an output.
    """
    first = next(row for row in rows if row is not None)
    parts: list[tuple[Tensor, ...]] = []
    for start in range(0, len(first), size):
        chunk = [None if row is None else _padded(row[start : start + size], size) for row in rows]
        result = function(*chunk)
        result = result if isinstance(result, tuple) else (result,)
        parts.append(tuple(r[: len(first) - start].clone() for r in result))
    return [torch.cat(column) for column in zip(*parts, strict=True)]


def _padded(rows: Tensor, size: int) -> Tensor:
    missing = size - len(rows)
    if missing == 0:
        return rows
    return torch.cat([rows, rows[-1:].expand(missing, *rows.shape[1:])])


def gathered(
    rows: Shaped[Tensor, "batch all width"], chosen: Chosen
) -> Shaped[Tensor, "batch some width"]:
    """Some places of each sequence, in the order asked for."""
    return rows.gather(1, chosen[..., None].expand(-1, -1, rows.shape[-1]))


def to_unit(
    pixels: UInt8[Tensor, "batch height width channel"],
) -> Float[Tensor, "batch channel height width"]:
    """Pixels at rest to floats from 0 to 1, channels first."""
    return pixels.permute(0, 3, 1, 2).float().div_(255)


def to_pixels(
    x: Float[Tensor, "batch channel height width"],
) -> UInt8[Tensor, "batch height width channel"]:
    """Floats from 0 to 1 to pixels at rest, rounded to the nearest of 256."""
    return x.clamp(0, 1).mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def zeroed(layer: nn.Linear | nn.Conv2d) -> nn.Linear | nn.Conv2d:
    """A layer that begins at zero: the last of a residual branch, which then begins as identity."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class ResidualLinear(nn.Module):
    """h + W2 act(W1 act(h)): two matrix products, no normalisation (after He 2016)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Linear(width, width)
        self.outer = zeroed(nn.Linear(width, width))

    def forward(self, h: Float[Tensor, "batch width"]) -> Float[Tensor, "batch width"]:
        return h + self.outer(F.silu(self.inner(F.silu(h))))


class ResidualConv(nn.Module):
    """h + W2 act(W1 act(h)), W1 of 3 x 3 and W2 of 1 x 1; no normalisation (after Child 2020).

    With a `kernel` of 1 each place is by itself."""

    def __init__(self, channels: int, kernel: int = 3) -> None:
        super().__init__()
        self.inner = nn.Conv2d(channels, channels, kernel, padding=kernel // 2)
        self.outer = zeroed(nn.Conv2d(channels, channels, 1))

    def forward(self, h: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch c h w"]:
        return h + self.outer(F.silu(self.inner(F.silu(h))))


class LabelEmbedding(nn.Module):
    """A vector a class, and one more for "none" (classifier-free dropout, Ho & Salimans 2022)."""

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.classes = classes
        self.table = nn.Embedding(classes + 1, width)

    def forward(self, labels: Int64[Tensor, " batch"] | None, rows: int) -> Float[Tensor, "b w"]:
        if labels is None:
            labels = torch.full((rows,), self.classes, device=self.table.weight.device)
        return self.table(torch.where(labels < 0, self.classes, labels))
