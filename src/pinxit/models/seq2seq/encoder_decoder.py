"""The transformer encoder and decoder (Vaswani 2017, 3.1), without embeddings and heads."""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pinxit.nn.attention import CrossKV, Hidden, KeyMask, KVCache
from pinxit.nn.positions import RotaryCache
from pinxit.nn.transformer import Block, DecoderBlock


class EncoderOutput(NamedTuple):
    """The encoded source."""

    hidden: Hidden
    mask: KeyMask  # False: padding

    def repeat_interleave(self, repeats: int) -> EncoderOutput:
        """Repeat each row of the batch."""
        return EncoderOutput(*(tensor.repeat_interleave(repeats, 0) for tensor in self))

    def expand(self, batch: int) -> EncoderOutput:
        """Expand one row to a batch, without a copy."""
        return EncoderOutput(*(tensor.expand(batch, *tensor.shape[1:]) for tensor in self))

    def index_select(self, rows: Tensor) -> EncoderOutput:
        """Return the encoded source of these rows of the batch."""
        return EncoderOutput(self.hidden[rows], self.mask[rows])


class Encoder(nn.Module):
    """Pre-norm layers of unmasked self-attention, then a LayerNorm."""

    def __init__(self, width: int, num_heads: int, depth: int, dropout: float) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(width, num_heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, h: Hidden, rotary: RotaryCache, mask: KeyMask) -> EncoderOutput:
        for block in self.blocks:
            h = self.dropout(block(h, rotary=rotary, key_mask=mask))
        return EncoderOutput(self.norm(h), mask)


class Decoder(nn.Module):
    """Pre-norm layers of causal self-attention and cross-attention, then a LayerNorm."""

    def __init__(self, width: int, num_heads: int, depth: int, dropout: float) -> None:
        super().__init__()
        self.num_heads, self.head_dim = num_heads, width // num_heads
        self.blocks = nn.ModuleList(DecoderBlock(width, num_heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    @property
    def layers(self) -> list[DecoderBlock]:
        return cast(list[DecoderBlock], list(self.blocks))

    def project_source(self, encoded: EncoderOutput) -> list[CrossKV]:
        """Return each layer's keys and values of the source, which serve all positions."""
        return [block.cross.project_source(encoded.hidden, encoded.mask) for block in self.layers]

    def forward(self, h: Hidden, encoded: EncoderOutput, rotary: RotaryCache) -> Hidden:
        """Decode all positions at once."""
        sources = self.project_source(encoded)
        for block, source in zip(self.layers, sources, strict=True):
            h = self.dropout(block(h, source, rotary))
        return self.norm(h)

    def step(
        self,
        h: Float[Tensor, "batch one width"],
        sources: list[CrossKV],
        rotary: RotaryCache,
        caches: list[KVCache],
        t: int,
    ) -> Float[Tensor, "batch width"]:
        """Decode position `t` only, with the keys and values of the previous ones in `caches`."""
        for block, source, cache in zip(self.layers, sources, caches, strict=True):
            h = block(h, source, rotary, cache, t)
        return self.norm(h[:, 0])

    def cross_attention_map(
        self, h: Hidden, encoded: EncoderOutput, rotary: RotaryCache
    ) -> Float[Tensor, "batch length source"]:
        """Cross-attention of each position over the source, the mean over layers and heads."""
        maps, sources = [], self.project_source(encoded)
        for block, source in zip(self.layers, sources, strict=True):
            maps.append(block.cross_attention_map(h, source, rotary).mean(1))
            h = block(h, source, rotary)
        return torch.stack(maps).mean(0)
