"""The transformer that predicts velocities: a token for each position of the latents.

As DiT (Peebles & Xie 2022): time and conditions scale and shift the hidden states of every layer
(adaptive layer norm), and each layer starts as the identity. The words of a caption are read by a
small encoder, once for all steps; the positions attend to them beside each other.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from pinxit.models.flow.path import Times
from pinxit.nn.attention import KeyMask, attention
from pinxit.nn.layers import zero_init
from pinxit.nn.positions import RotaryCache, apply_rotary, axial_rotary_cache, rotary_cache
from pinxit.nn.transformer import Block

NUM_FREQUENCIES = 64  # sines and as many cosines of the time
MAX_FREQUENCY = 1_000.0  # radians per unit of time

Hidden = Float[Tensor, "batch length width"]
Latents = Float[Tensor, "batch channel height width"]


class KeysAndValues(NamedTuple):
    """Keys and values of a caption's words, for one layer."""

    keys: Float[Tensor, "batch heads words head_dim"]
    values: Float[Tensor, "batch heads words head_dim"]


class Condition(NamedTuple):
    """What an image is generated from, computed once for all steps."""

    vector: Float[Tensor, "batch width"]  # added to the embedding of the time
    words: tuple[KeysAndValues, ...] = ()  # for each layer; empty without captions
    mask: KeyMask | None = None  # of the words
    source: Float[Tensor, "batch channel height width"] | None = None  # latents before an edit
    # latents that are known, 0 elsewhere, and a last channel that is 1 where they are known
    visible: Float[Tensor, "batch channel_and_1 height width"] | None = None


class TimeEmbedding(nn.Module):
    """Sines and cosines of the time, and two layers (Peebles & Xie 2022; Vaswani 2017, 3.5)."""

    frequencies: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        powers = torch.arange(NUM_FREQUENCIES) / (NUM_FREQUENCIES - 1)
        self.register_buffer("frequencies", MAX_FREQUENCY**powers, persistent=False)
        self.layers = nn.Sequential(
            nn.Linear(2 * NUM_FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width)
        )

    def forward(self, t: Times) -> Float[Tensor, "batch width"]:
        angles = t[:, None] * self.frequencies
        return self.layers(torch.cat([angles.sin(), angles.cos()], 1))


class ConditionedAttention(nn.Module):
    """Self-attention whose queries also see a caption's words; queries and keys are normalized."""

    hidden_matrices = True

    def __init__(self, width: int, num_heads: int, *, with_words: bool) -> None:
        super().__init__()
        self.num_heads, self.head_dim = num_heads, width // num_heads
        self.qkv = nn.Linear(width, 3 * width)
        self.words_kv = nn.Linear(width, 2 * width) if with_words else None
        self.out = nn.Linear(width, width)

    def project_words(self, words: Hidden) -> KeysAndValues:
        assert self.words_kv is not None, "a model of captions"
        kv = self.words_kv(words).unflatten(-1, (2, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        return KeysAndValues(F.rms_norm(kv[0], (self.head_dim,)), kv[1])

    def attend_to_words(
        self, h: Hidden, rotary: RotaryCache, words: KeysAndValues, mask: KeyMask | None
    ) -> Float[Tensor, "batch length words"]:
        """Return each position's attention to each word, the mean over heads."""
        q, k, _ = self._project(h, rotary)
        scores = q @ torch.cat([words.keys, k], 2).mT / math.sqrt(self.head_dim)
        if mask is not None:
            padded = F.pad(mask, (0, h.shape[1]), value=True)[:, None, None, :]
            scores = scores.masked_fill(~padded, -math.inf)
        return scores.softmax(-1).mean(1)[..., : words.keys.shape[2]]

    def forward(
        self, h: Hidden, rotary: RotaryCache, words: KeysAndValues | None, mask: KeyMask | None
    ) -> Hidden:
        q, k, v = self._project(h, rotary)
        if words is not None:
            k, v = torch.cat([words.keys, k], 2), torch.cat([words.values, v], 2)
        if mask is not None:
            mask = F.pad(mask, (0, h.shape[1]), value=True)[:, None, None, :]
        return self.out(attention(q, k, v, mask).transpose(1, 2).flatten(2))

    def _project(self, h: Hidden, rotary: RotaryCache) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values `[batch, heads, length, head_dim]`."""
        qkv = self.qkv(h).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        q, k = apply_rotary(F.rms_norm(qkv[:2], (self.head_dim,)), rotary).unbind(0)
        return q, k, qkv[2]


class MLP(nn.Module):
    """Two layers with GELU."""

    hidden_matrices = True
    fsdp_unit = True  # nothing outside uses its parameters

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, h: Hidden) -> Hidden:
        return self.down(F.gelu(self.up(h), approximate="tanh"))


class ConditionedBlock(nn.Module):
    """A transformer layer whose norms are scaled and shifted by the condition (adaLN-Zero)."""

    def __init__(self, width: int, num_heads: int, dropout: float, *, with_words: bool) -> None:
        super().__init__()
        self.attention = ConditionedAttention(width, num_heads, with_words=with_words)
        self.mlp = MLP(width)
        self.modulation = zero_init(nn.Linear(width, 6 * width))
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        h: Hidden,
        condition: Float[Tensor, "batch width"],
        rotary: RotaryCache,
        words: KeysAndValues | None,
        mask: KeyMask | None,
    ) -> Hidden:
        parts = self.modulation(condition)[:, None].chunk(6, -1)
        mixed = self.attention(_modulate(h, parts[0], parts[1]), rotary, words, mask)
        h = h + parts[2] * self.dropout(mixed)
        return h + parts[5] * self.dropout(self.mlp(_modulate(h, parts[3], parts[4])))


def _modulate(h: Hidden, scale: Tensor, shift: Tensor) -> Hidden:
    return F.layer_norm(h, h.shape[-1:]) * (1 + scale) + shift


class WordEncoder(nn.Module):
    """Reads the embedded tokens of captions: transformer layers with rotary positions."""

    def __init__(self, width: int, num_heads: int, depth: int) -> None:
        super().__init__()
        self.head_dim = width // num_heads
        self.layers = nn.ModuleList(Block(width, num_heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, h: Hidden, mask: KeyMask) -> Hidden:
        rotary = rotary_cache(h.shape[1], self.head_dim, device=h.device)
        for layer in self.layers:
            h = layer(h, rotary=rotary, key_mask=mask)
        return self.norm(h)


class FlowTransformer(nn.Module):
    """Latents x_t, a time and a condition to a velocity, or to data, of the same shape."""

    cos: Tensor
    sin: Tensor

    def __init__(
        self,
        shape: tuple[int, int, int],
        width: int,
        depth: int,
        num_heads: int,
        dropout: float = 0.0,
        *,
        with_words: bool = False,
        with_source: bool = False,
        with_visible: bool = False,
    ) -> None:
        super().__init__()
        channels, rows, columns = shape
        # with captions the number of words is another one in nearly every batch
        self.compile_unit = None if with_words else "auto"
        self.with_source, self.with_visible = with_source, with_visible
        self.grid = (rows, columns)
        cos, sin = axial_rotary_cache(rows, columns, width // num_heads)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        num_inputs = channels * (1 + with_source) + (channels + 1) * with_visible
        self.in_proj = nn.Linear(num_inputs, width)
        self.pos_embed = nn.Parameter(torch.zeros(rows * columns, width))
        self.time_embed = TimeEmbedding(width)
        self.blocks = nn.ModuleList(
            ConditionedBlock(width, num_heads, dropout, with_words=with_words) for _ in range(depth)
        )
        self.final_modulation = zero_init(nn.Linear(width, 2 * width))
        self.out_proj = zero_init(nn.Linear(width, channels))
        nn.init.normal_(self.pos_embed, std=0.02)

    def project_words(self, words: Hidden) -> tuple[KeysAndValues, ...]:
        """Return the keys and values of a caption's words for each layer."""
        return tuple(block.attention.project_words(words) for block in self.blocks)  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]

    def forward(self, x: Latents, t: Times, condition: Condition) -> Latents:
        h, vector = self._embed(x, t, condition)
        words = condition.words or [None] * len(self.blocks)
        for block, seen in zip(self.blocks, words, strict=True):
            h = block(h, vector, (self.cos, self.sin), seen, condition.mask)
        scale, shift = self.final_modulation(vector)[:, None].chunk(2, -1)
        return self.out_proj(_modulate(h, scale, shift)).transpose(1, 2).unflatten(2, self.grid)

    def attend_to_words(
        self, x: Latents, t: Times, condition: Condition
    ) -> Float[Tensor, "batch positions words"]:
        """Return each position's attention to each word of its caption, the mean over layers."""
        h, vector = self._embed(x, t, condition)
        rotary = (self.cos, self.sin)
        maps = []
        for block, seen in zip(self.blocks, condition.words, strict=True):
            assert isinstance(block, ConditionedBlock)
            scale, shift = block.modulation(vector)[:, None].chunk(6, -1)[:2]
            h_in = _modulate(h, scale, shift)
            maps.append(block.attention.attend_to_words(h_in, rotary, seen, condition.mask))
            h = block(h, vector, rotary, seen, condition.mask)
        return torch.stack(maps).mean(0)

    def _embed(self, x: Latents, t: Times, condition: Condition) -> tuple[Hidden, Tensor]:
        """Return the hidden states of the positions, and what scales and shifts them."""
        vector = F.silu(self.time_embed(t) + condition.vector)
        inputs = [x]
        if self.with_source:
            inputs.append(torch.zeros_like(x) if condition.source is None else condition.source)
        if self.with_visible:
            nothing = x.new_zeros(x.shape[0], x.shape[1] + 1, *x.shape[2:])
            inputs.append(nothing if condition.visible is None else condition.visible)
        h = self.in_proj(torch.cat(inputs, 1).flatten(2).transpose(1, 2))
        return h + self.pos_embed, vector


def init_linear(module: nn.Module) -> None:
    """Xavier-uniform weights for linear layers (Peebles & Xie 2022), but those that are zero."""
    for part in module.modules():
        if isinstance(part, nn.Linear) and not part.weight.is_meta and part.weight.any():
            nn.init.xavier_uniform_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
