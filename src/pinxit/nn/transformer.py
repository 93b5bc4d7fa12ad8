"""Pre-norm transformer layers (Vaswani 2017; pre-norm as in Radford 2019 and He 2021).

    h = h + attention(norm(h));  h = h + mlp(norm(h))

Positions, embeddings and heads belong to the model families.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from pinxit.nn.attention import Attention, CrossAttention, CrossKV, Hidden, KeyMask, KVCache
from pinxit.nn.positions import RotaryCache

NormType = Literal["layer", "rms"]
Activation = Literal["gelu", "quick_gelu"]


def build_norm(norm_type: NormType, width: int, eps: float = 1e-5) -> nn.Module:
    """LayerNorm, or RMSNorm without mean and bias (Zhang & Sennrich 2019), as in iGPT."""
    return nn.LayerNorm(width, eps) if norm_type == "layer" else nn.RMSNorm(width, eps)


def quick_gelu(x: Tensor) -> Tensor:
    """x sigmoid(1.702 x), the approximation of GELU in iGPT's code."""
    return x * torch.sigmoid(1.702 * x)


class Block(nn.Module):
    """One pre-norm layer: self-attention, then an MLP whose hidden layer is `mlp_ratio` x width."""

    hidden_matrices = True
    fsdp_unit = True  # nothing outside uses its parameters
    compile_unit = "on"

    def __init__(
        self,
        width: int,
        num_heads: int,
        mlp_ratio: float = 4.0,
        norm_type: NormType = "layer",
        activation: Activation = "gelu",
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.norm1 = build_norm(norm_type, width, eps)
        self.attention = Attention(width, num_heads)
        self.norm2 = build_norm(norm_type, width, eps)
        self.up = nn.Linear(width, int(mlp_ratio * width))
        self.down = nn.Linear(int(mlp_ratio * width), width)
        self.activation = F.gelu if activation == "gelu" else quick_gelu

    def forward(
        self,
        h: Hidden,
        causal: bool = False,
        rotary: RotaryCache | None = None,
        cache: KVCache | None = None,
        start_pos: int = 0,
        key_mask: KeyMask | None = None,
    ) -> Hidden:
        """Run the layer; the arguments are those of `Attention.forward`."""
        residual = h[:]  # a separate autograd node: gradients add up in a fixed order
        mixed = self.attention(self.norm1(h), causal, rotary, cache, start_pos, key_mask)
        return self.mlp(residual + mixed)

    def forward_from(self, h: Hidden, start: int) -> Float[Tensor, "batch queries width"]:
        """Run the layer without mask and rotary; return the positions `start` and after only.

        For a last layer of which only these are needed: it costs less than `forward`.
        """
        return self.mlp(h[:, start:] + self.attention.attend_from(self.norm1(h), start))

    def mlp(self, h: Hidden) -> Hidden:
        """Run the second half of the layer."""
        return h + self.down(self.activation(self.up(self.norm2(h))))


class DecoderBlock(nn.Module):
    """One pre-norm decoder layer: causal self-attention, cross-attention, MLP."""

    fsdp_unit = False  # it uses the parts of its blocks, and decoders those of its attention

    def __init__(self, width: int, num_heads: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.self_block = Block(width, num_heads, eps=eps)
        self.norm = nn.LayerNorm(width, eps)
        self.cross = CrossAttention(width, num_heads)

    def forward(
        self,
        h: Hidden,
        source: CrossKV,
        rotary: RotaryCache | None = None,
        cache: KVCache | None = None,
        start_pos: int = 0,
    ) -> Hidden:
        """Run the layer; `cache` and `start_pos` are those of `Attention.forward`."""
        h = self._attend_to_prefix(h, rotary, cache, start_pos)
        h = h + self.cross(self.norm(h), source)
        return self.self_block.mlp(h)

    def cross_attention_map(
        self, h: Hidden, source: CrossKV, rotary: RotaryCache | None = None
    ) -> Float[Tensor, "batch heads target length"]:
        """Return the cross-attention weights of each target position over the source."""
        h = self._attend_to_prefix(h, rotary)
        return self.cross.attention_weights(self.norm(h), source)

    def _attend_to_prefix(
        self,
        h: Hidden,
        rotary: RotaryCache | None,
        cache: KVCache | None = None,
        start_pos: int = 0,
    ) -> Hidden:
        block = self.self_block
        return h + block.attention(block.norm1(h), True, rotary, cache, start_pos)
