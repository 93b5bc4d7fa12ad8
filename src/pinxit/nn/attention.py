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

Seen = Bool[Tensor, "batch length"]


@dataclass
class KVCache:
    """A layer's cache of fixed shape: `[batch, heads, context, head]`, filled from the left."""

    keys: Tensor
    values: Tensor

    @classmethod
    def empty(cls, batch: int, heads: int, context: int, head: int, like: Tensor) -> KVCache:
        shape = (batch, heads, context, head)
        return cls(like.new_zeros(shape), like.new_zeros(shape))

    def put(self, at: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write from position `at` on; returns all up to the last written, as views."""
        end = at + keys.shape[2]
        self.keys[:, :, at:end], self.values[:, :, at:end] = keys, values
        return self.keys[:, :, :end], self.values[:, :, :end]


class Attention(nn.Module):
    """Multi-head self-attention, softmax(q k^T / sqrt(head)) v (Vaswani 2017, eq. 1)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

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
        """`causal`: a position sees itself and those before. With a `cache` the rows of `h` stand
        at `at` and after, and see all that was put there before: one row, or from `at` 0 on.
        Positions before `since` are seen, but do not ask and are not returned. Positions that are
        not `seen` (padding) are seen by none."""
        if since:
            return self.out(self._asked(h, since).transpose(1, 2).flatten(2))
        qkv = self.qkv(h).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        qk, v = qkv.split((2, 1))  # each [1 or 2, batch, heads, length, head]
        q, k = (qk if rotation is None else apply_rotary(qk, rotation)).unbind(0)
        v = v[0]
        if cache is not None:
            k, v = cache.put(at, k, v)
        mask = None if seen is None else seen[:, None, None, :]
        mixed = attention(q, k, v, mask, causal and q.shape[2] > 1)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def _asked(self, h: Hidden, since: int) -> Float[Tensor, "batch heads some head"]:
        width = h.shape[-1]
        weight, bias = self.qkv.weight, self.qkv.bias
        q = F.linear(h[:, since:], weight[:width], bias[:width])
        kv = F.linear(h, weight[width:], bias[width:])
        q = q.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k, v = kv.unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        return attention(q, k, v)


def attention(
    q: Float[Tensor, "b n t head"],
    k: Float[Tensor, "b n s head"],
    v: Float[Tensor, "b n s head"],
    mask: Tensor | None = None,
    causal: bool = False,
) -> Float[Tensor, "b n t head"]:
    """softmax(q k^T / sqrt(head)) v (Vaswani 2017, eq. 1).

    In training on a CPU in fp32: there the backward pass in bf16 takes 2 to 8 times as long.
    """
    if q.device.type == "cpu" and torch.is_grad_enabled():
        with torch.autocast("cpu", enabled=False):
            q, k, v = q.float(), k.float(), v.float()
            return F.scaled_dot_product_attention(q, k, v, mask, is_causal=causal)
    return F.scaled_dot_product_attention(q, k, v, mask, is_causal=causal)


class Source(NamedTuple):
    """What a decoder's layer keeps of the source: its keys and values, and which are no padding."""

    keys: Float[Tensor, "batch heads length head"]
    values: Float[Tensor, "batch heads length head"]
    seen: Seen

    def take(self, rows: Tensor) -> Source:
        """Of these rows of the batch."""
        return Source(self.keys[rows], self.values[rows], self.seen[rows])


class CrossAttention(nn.Module):
    """Queries of the target, keys and values of the source (Vaswani 2017, 3.2.3)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def source(self, encoded: Hidden, seen: Seen) -> Source:
        """To be computed once, however long the target grows."""
        kv = self.kv(encoded).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return Source(kv[0], kv[1], seen)

    def forward(self, h: Hidden, source: Source) -> Hidden:
        mask = source.seen[:, None, None, :]
        mixed = attention(self._asked(h), source.keys, source.values, mask)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def weights(self, h: Hidden, source: Source) -> Float[Tensor, "batch heads target length"]:
        """What each position of the target looks at in the source; sums to one."""
        q = self._asked(h)
        scores = q @ source.keys.transpose(2, 3) / q.shape[-1] ** 0.5
        return scores.masked_fill(~source.seen[:, None, None, :], -torch.inf).softmax(-1)

    def _asked(self, h: Hidden) -> Float[Tensor, "batch heads length head"]:
        return self.q(h).unflatten(-1, (self.heads, -1)).transpose(1, 2)
