"""Residual layers, layouts, label embedding and module sharing, for several model families."""

from __future__ import annotations

from typing import Generic, TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from pinxit.nn.batch_share import batch_rand

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def channels_last(h: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch c h w"]:
    """Store the channels of each position beside one another, on a CPU.

    Convolutions keep that order, and need no reordering of their own.
    """
    return h.contiguous(memory_format=torch.channels_last) if h.device.type == "cpu" else h


class FoldPixels(nn.PixelUnshuffle):
    """Fold squares of pixels into channels (space to depth), which are stored last on a CPU."""

    def forward(self, input: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch folded h2 w2"]:
        return channels_last(super().forward(input))


class SharedModule(Generic[ModuleT]):
    """A reference to a module that another module owns.

    Held like this it is not registered a second time: its weights are saved and trained once.
    """

    def __init__(self, module: ModuleT) -> None:
        self.module = module


def zero_init(layer: nn.Linear | nn.Conv2d) -> nn.Linear | nn.Conv2d:
    """Set a layer to zero. As the last layer of a residual branch it starts as the identity."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class ResidualLinear(nn.Module):
    """h + W2 silu(W1 silu(h)): two linear layers without normalization (after He 2016)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(width, width)
        self.linear2 = zero_init(nn.Linear(width, width))

    def forward(self, h: Float[Tensor, "batch width"]) -> Float[Tensor, "batch width"]:
        return h + self.linear2(F.silu(self.linear1(F.silu(h))))


class ResidualConv(nn.Module):
    """h + W2 silu(W1 silu(h)): W1 is k x k and W2 1 x 1, without normalization (after Child 2020).

    With `kernel_size` 1 no pixel sees another.
    """

    hidden_matrices = True
    fsdp_unit = True  # nothing outside uses its parameters

    def __init__(self, channels: int, kernel_size: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, kernel_size, padding=kernel_size // 2)
        self.conv2 = zero_init(nn.Conv2d(channels, channels, 1))

    def forward(self, h: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch c h w"]:
        return h + self.conv2(F.silu(self.conv1(F.silu(h))))


class LabelEmbedding(nn.Module):
    """A vector for each class, and one for "no label" (Ho & Salimans 2022).

    Labels below 0, and labels that are None, get the vector for "no label"; or the mean of the
    classes' vectors, where no label is dropped in training and that vector is not learned.
    """

    def __init__(self, num_classes: int, width: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.learns_no_label = True
        self.embedding = nn.Embedding(num_classes + 1, width)

    def forward(self, labels: Int64[Tensor, " batch"] | None, rows: int) -> Float[Tensor, "b w"]:
        if labels is None:
            labels = torch.full((rows,), self.num_classes, device=self.embedding.weight.device)
        vectors = self.embedding(torch.where(labels < 0, self.num_classes, labels))
        if self.learns_no_label:
            return vectors
        mean = self.embedding.weight[: self.num_classes].mean(0)
        is_none = (labels < 0) | (labels == self.num_classes)
        return torch.where(is_none[:, None], mean.to(vectors.dtype), vectors)


def set_label_dropout(module: nn.Module, p: float) -> None:
    """Let the label embeddings of a module that drops no label do without one for "no label"."""
    for part in module.modules():
        if isinstance(part, LabelEmbedding) and part.num_classes:
            part.learns_no_label = p > 0


def drop_labels(
    labels: Int64[Tensor, " batch"] | None, p: float | Tensor, training: bool
) -> Int64[Tensor, " batch"] | None:
    """While `training`, replace each label by -1 ("none") with probability `p`, of all or each."""
    if labels is None or not training:
        return labels
    return labels.masked_fill(batch_rand(len(labels), device=labels.device) < p, -1)
