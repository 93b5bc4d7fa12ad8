"""The transformer that the families share (Vaswani 2017; pre-norm as in Radford 2019, He 2021).

    h = h + attention(norm(h));  h = h + mlp(norm(h))

Nothing else: positions, embeddings and heads are the families' own.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from pinxit.nn.attention import Attention, CrossAttention, Hidden, KVCache, Seen, Source
from pinxit.nn.positions import RotaryCache

Norm = Literal["layer", "rms"]
Activation = Literal["gelu", "quick_gelu"]


def norm(kind: Norm, width: int, eps: float = 1e-5) -> nn.Module:
    """LayerNorm, or RMSNorm (no mean, no bias: iGPT's)."""
    return nn.LayerNorm(width, eps) if kind == "layer" else nn.RMSNorm(width, eps)


def quick_gelu(x: Tensor) -> Tensor:
    """x sigmoid(1.702 x), the approximation that iGPT was trained with."""
    return x * torch.sigmoid(1.702 * x)


class Block(nn.Module):
    """One pre-norm layer: attention, then a two-layer perceptron of `ratio` times the width."""

    def __init__(
        self,
        width: int,
        heads: int,
        ratio: float = 4.0,
        normalised: Norm = "layer",
        activation: Activation = "gelu",
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.norm1 = norm(normalised, width, eps)
        self.attention = Attention(width, heads)
        self.norm2 = norm(normalised, width, eps)
        self.up = nn.Linear(width, int(ratio * width))
        self.down = nn.Linear(int(ratio * width), width)
        self.activation = F.gelu if activation == "gelu" else quick_gelu

    def forward(
        self,
        h: Hidden,
        causal: bool = False,
        rotation: RotaryCache | None = None,
        cache: KVCache | None = None,
        at: int = 0,
        since: int = 0,
        seen: Seen | None = None,
    ) -> Hidden:
        """As `Attention.forward`; a last layer of which only the end is wanted costs less."""
        h = h[:, since:] + self.attention(self.norm1(h), causal, rotation, cache, at, since, seen)
        return self.perceptron(h)

    def perceptron(self, h: Hidden) -> Hidden:
        """The second half of the layer."""
        return h + self.down(self.activation(self.up(self.norm2(h))))


class DecoderBlock(nn.Module):
    """One pre-norm layer of a decoder: what came before, then the source, then a perceptron."""

    def __init__(self, width: int, heads: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.before = Block(width, heads, eps=eps)
        self.norm = nn.LayerNorm(width, eps)
        self.cross = CrossAttention(width, heads)

    def forward(
        self,
        h: Hidden,
        source: Source,
        rotation: RotaryCache | None = None,
        cache: KVCache | None = None,
        at: int = 0,
    ) -> Hidden:
        own = self.before
        h = h + own.attention(own.norm1(h), True, rotation, cache, at)
        h = h + self.cross(self.norm(h), source)
        return own.perceptron(h)

    def looking(
        self, h: Hidden, source: Source, rotation: RotaryCache | None = None
    ) -> Float[Tensor, "batch heads target length"]:
        """The weights of its cross-attention."""
        h = h + self.before.attention(self.before.norm1(h), True, rotation)
        return self.cross.weights(self.norm(h), source)


def heads_of(width: int) -> int:
    """Heads of 64 numbers, or of 32 in networks below 512 wide, one at least."""
    return max(1, width // (64 if width >= 512 else 32))
