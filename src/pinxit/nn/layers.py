"""What the families share: chance per image, work in equal chunks, residual blocks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn


def zero_init(layer: nn.Linear | nn.Conv2d) -> nn.Linear | nn.Conv2d:
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
        self.outer = zero_init(nn.Linear(width, width))

    def forward(self, h: Float[Tensor, "batch width"]) -> Float[Tensor, "batch width"]:
        return h + self.outer(F.silu(self.inner(F.silu(h))))


class ResidualConv(nn.Module):
    """h + W2 act(W1 act(h)), W1 of 3 x 3 and W2 of 1 x 1; no normalisation (after Child 2020).

    With a `kernel` of 1 each place is by itself."""

    def __init__(self, channels: int, kernel: int = 3) -> None:
        super().__init__()
        self.inner = nn.Conv2d(channels, channels, kernel, padding=kernel // 2)
        self.outer = zero_init(nn.Conv2d(channels, channels, 1))

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


def drop_labels(
    labels: Int64[Tensor, " batch"] | None, p: float, training: bool
) -> Int64[Tensor, " batch"] | None:
    """While `training`, replace each label by -1 ("none") with probability `p`."""
    if labels is None or not training:
        return labels
    return labels.masked_fill(torch.rand(labels.shape, device=labels.device) < p, -1)
