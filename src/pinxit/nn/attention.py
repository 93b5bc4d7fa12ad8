"""Multi-head self-attention and cross-attention (Vaswani 2017), with a key/value cache."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from pinxit.nn.positions import RotaryCache, apply_rotary

Hidden = Float[Tensor, "batch length width"]
KeyMask = Bool[Tensor, "batch length"]  # False: padding, which no query attends to
Heads = Float[Tensor, "batch heads length head_dim"]

MAX_KEYS = 320  # of attention by matrix products in bf16: its memory grows with their square
FEW_KEYS, LARGE_HEAD = 128, 64  # one of both makes it faster than SDPA in float32


def attention(
    q: Float[Tensor, "batch heads queries head_dim"],
    k: Float[Tensor, "batch heads keys head_dim"],
    v: Float[Tensor, "batch heads keys head_dim"],
    mask: Tensor | None = None,
    causal: bool = False,
) -> Float[Tensor, "batch heads queries head_dim"]:
    """softmax(q k^T / sqrt(head_dim)) v (Vaswani 2017, eq. 1).

    Training on a CPU never runs SDPA in bfloat16: its backward pass takes 1.5 to 8 times as long as
    in float32. Where plain matrix products in bfloat16 are faster than both, they are taken.
    """
    if q.device.type == "cpu" and torch.is_grad_enabled():
        with torch.autocast("cpu", enabled=False):
            if mask is None and not causal and _are_products_faster(q, k):
                return attention_by_products(q, k, v)
            q, k, v = q.float(), k.float(), v.float()
            return F.scaled_dot_product_attention(q, k, v, mask, is_causal=causal)
    return F.scaled_dot_product_attention(q, k, v, mask, is_causal=causal)


def _are_products_faster(q: Heads, k: Heads) -> bool:
    num_keys, head_dim = k.shape[2:]
    return (
        q.dtype == torch.bfloat16
        and num_keys <= MAX_KEYS
        and (num_keys <= FEW_KEYS or head_dim >= LARGE_HEAD)
    )


def attention_by_products(q: Heads, k: Heads, v: Heads) -> Heads:
    """Compute `attention` without a mask by two batched matrix products."""
    return (q * q.shape[-1] ** -0.5 @ k.transpose(-1, -2)).softmax(-1) @ v


@dataclass
class KVCache:
    """One layer's keys and values, `[batch, heads, max_len, head_dim]`, filled from the left."""

    keys: Tensor
    values: Tensor

    @classmethod
    def empty(
        cls, batch: int, num_heads: int, max_len: int, head_dim: int, like: Tensor
    ) -> KVCache:
        shape = (batch, num_heads, max_len, head_dim)
        return cls(like.new_zeros(shape), like.new_zeros(shape))

    def append(self, start_pos: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write at `start_pos` and after; return views of everything up to the last position."""
        end = start_pos + keys.shape[2]
        self.keys[:, :, start_pos:end], self.values[:, :, start_pos:end] = keys, values
        return self.keys[:, :, :end], self.values[:, :, :end]


class Attention(nn.Module):
    """Multi-head self-attention (Vaswani 2017, 3.2.2)."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(
        self,
        h: Hidden,
        causal: bool = False,
        rotary: RotaryCache | None = None,
        cache: KVCache | None = None,
        start_pos: int = 0,
        key_mask: KeyMask | None = None,
    ) -> Hidden:
        """Attend from every position of `h`.

        With a `cache`, `h` holds positions `start_pos` and after, which also attend to all cached
        positions: either one position, or all from 0 on.
        """
        qkv = self.qkv(h).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        qk, v = qkv.split((2, 1))  # [2 or 1, batch, heads, length, head_dim]
        q, k = (qk if rotary is None else apply_rotary(qk, rotary)).unbind(0)
        v = v[0]
        if cache is not None:
            k, v = cache.append(start_pos, k, v)
        mask = None if key_mask is None else key_mask[:, None, None, :]
        mixed = attention(q, k, v, mask, causal and q.shape[2] > 1)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def attend_from(self, h: Hidden, start: int) -> Float[Tensor, "batch queries width"]:
        """Attend from the positions `start` and after to all positions: no mask, no rotary.

        Returns the output of those positions only, and saves the queries of the others.
        """
        width = h.shape[-1]
        weight, bias = self.qkv.weight, self.qkv.bias
        q = F.linear(h[:, start:], weight[:width], bias[:width])
        kv = F.linear(h, weight[width:], bias[width:])
        q = q.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
        k, v = kv.unflatten(-1, (2, self.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        return self.out(attention(q, k, v).transpose(1, 2).flatten(2))


class CrossKV(NamedTuple):
    """Keys and values of the source for one decoder layer."""

    keys: Float[Tensor, "batch heads length head_dim"]
    values: Float[Tensor, "batch heads length head_dim"]
    key_mask: KeyMask


class CrossAttention(nn.Module):
    """Queries of the target, keys and values of the source (Vaswani 2017, 3.2.3)."""

    hidden_matrices = True

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def project_source(self, encoded: Hidden, key_mask: KeyMask) -> CrossKV:
        """Keys and values of the encoded source; compute them once for all target positions."""
        kv = self.kv(encoded).unflatten(-1, (2, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        return CrossKV(kv[0], kv[1], key_mask)

    def forward(self, h: Hidden, source: CrossKV) -> Hidden:
        mask = source.key_mask[:, None, None, :]
        mixed = attention(self._queries(h), source.keys, source.values, mask)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def attention_weights(
        self, h: Hidden, source: CrossKV
    ) -> Float[Tensor, "batch heads target length"]:
        """Return the softmax weights over the source for each target position; they sum to one."""
        q = self._queries(h)
        logits = q @ source.keys.transpose(2, 3) / q.shape[-1] ** 0.5
        return logits.masked_fill(~source.key_mask[:, None, None, :], -torch.inf).softmax(-1)

    def _queries(self, h: Hidden) -> Float[Tensor, "batch heads length head_dim"]:
        return self.q(h).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
