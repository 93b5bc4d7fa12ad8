"""A decoder layer for one position at a time, with few operations beside matrix products.

Computes `DecoderBlock.forward` with a cache, in another order of operations:

- gains and biases of norms, and 1 / sqrt(head_dim), are folded into the matrices after them;
- one product gives queries, keys and values, and queries and keys with swapped halves, of which
  rotary positions need no more than a product and a sum;
- the mask of the source is added to the logits of its attention;
- no module is called: the products of a small batch take as long as a few Python calls.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from pinxit.nn.attention import CrossKV
from pinxit.nn.folding import fold_norm
from pinxit.nn.transformer import DecoderBlock

Rows = Float[Tensor, "batch width"]


class Linear(NamedTuple):
    """x A + b for rows x; A is `[inputs, outputs]`."""

    matrix: Tensor
    bias: Tensor

    @classmethod
    def from_weight(cls, weight: Tensor, bias: Tensor) -> Linear:
        return cls(weight.t().contiguous(), bias)

    def __call__(self, x: Rows) -> Rows:
        return torch.addmm(self.bias, x, self.matrix)


class Source(NamedTuple):
    """Keys and values of the source, as `bmm` needs them, and what masks its padding."""

    keys: Float[Tensor, "batch heads head_dim length"]
    values: Float[Tensor, "batch heads length head_dim"]
    mask: Float[Tensor, "batch heads one length"]  # 0, or minus infinity for padding

    @classmethod
    def from_cross(cls, cross: CrossKV) -> Source:
        keys, values, key_mask = cross
        mask = torch.zeros_like(key_mask, dtype=keys.dtype).masked_fill(~key_mask, -torch.inf)
        mask = mask[:, None, None].expand(-1, keys.shape[1], -1, -1)
        return cls(*(x.contiguous() for x in (keys.transpose(2, 3), values, mask)))


class Rotation(NamedTuple):
    """Factors of queries and keys, and of both with swapped halves, at each position."""

    cos: Float[Tensor, "length two_widths"]
    sin: Float[Tensor, "length two_widths"]

    @classmethod
    def from_rotary(cls, rotary: Float[Tensor, "two length half"], num_heads: int) -> Rotation:
        """From cosines and sines: see `nn.positions.apply_rotary`."""
        cos, sin = rotary
        repeats = (1, 2 * num_heads)
        return cls(
            torch.cat((cos, cos), 1).repeat(repeats), torch.cat((-sin, sin), 1).repeat(repeats)
        )


class FoldedLayer:
    """One layer of a batch, with its cache; call it with t = 0, 1, 2, ... in order."""

    def __init__(self, block: DecoderBlock, source: CrossKV, max_len: int) -> None:
        own, cross = block.self_block, block.cross
        self.num_heads = own.attention.num_heads
        norm = own.norm1
        assert isinstance(norm, nn.LayerNorm), "as in `DecoderBlock`"
        self.norm_shape, self.eps = norm.normalized_shape, norm.eps
        self.qkv = _fold_qkv(block)
        self.out = Linear.from_weight(own.attention.out.weight, own.attention.out.bias)
        scale = (len(cross.q.weight) // self.num_heads) ** -0.5
        self.cross_q = Linear.from_weight(
            *fold_norm(block.norm, scale * cross.q.weight, scale * cross.q.bias)
        )
        self.cross_out = Linear.from_weight(cross.out.weight, cross.out.bias)
        self.up = Linear.from_weight(*fold_norm(own.norm2, own.up.weight, own.up.bias))
        self.down = Linear.from_weight(own.down.weight, own.down.bias)
        self.activation = own.activation
        batch, heads, _, head_dim = source.keys.shape
        self._set_state(
            source.keys.new_zeros(2, batch, heads, max_len, head_dim), Source.from_cross(source)
        )

    def _set_state(
        self, cache: Float[Tensor, "two batch heads tokens head_dim"], source: Source
    ) -> None:
        """Keep the tensors that have a row for each of the batch, and views of them for `bmm`."""
        self.cache, self.source = cache, source
        keys, self.values = cache.flatten(1, 2)
        self.keys = keys.transpose(1, 2)
        self.source_keys, self.source_values, self.mask = (x.flatten(0, 1) for x in source)

    def select_rows(self, rows: Tensor) -> None:
        """Continue with these rows of the batch; a row may occur several times."""
        self._set_state(self.cache[:, rows], Source(*(x[rows] for x in self.source)))

    def __call__(self, x: Rows, rotation: Rotation, t: int) -> Rows:
        """Run the layer at position t."""
        x = x + self.out(self._attend(self.qkv(self._norm(x)), rotation, t))
        x = x + self.cross_out(self._attend_to_source(self.cross_q(self._norm(x))))
        return x + self.down(self.activation(self.up(self._norm(x))))

    def _norm(self, x: Rows) -> Rows:
        return F.layer_norm(x, self.norm_shape, eps=self.eps)

    def _attend(self, qkv: Rows, rotation: Rotation, t: int) -> Rows:
        """Attend from position t to itself and all before; append its key and value."""
        batch, width = len(qkv), qkv.shape[1] // 5
        qkv[:, : 2 * width].mul_(rotation.cos[t]).addcmul_(qkv[:, 3 * width :], rotation.sin[t])
        key_value = qkv[:, width : 3 * width].view(batch, 2, self.num_heads, -1).transpose(0, 1)
        self.cache.select(3, t).copy_(key_value)
        query = qkv[:, :width].reshape(batch * self.num_heads, 1, -1)
        weights = torch.bmm(query, self.keys.narrow(2, 0, t + 1)).softmax(-1)
        return torch.bmm(weights, self.values.narrow(1, 0, t + 1)).view(batch, width)

    def _attend_to_source(self, query: Rows) -> Rows:
        heads = query.view(len(query) * self.num_heads, 1, -1)
        weights = torch.baddbmm(self.mask, heads, self.source_keys).softmax(-1)
        return torch.bmm(weights, self.source_values).view(query.shape)


def _fold_qkv(block: DecoderBlock) -> Linear:
    """Return the product of queries, keys, values, and of queries and keys with swapped halves."""
    own = block.self_block
    weight, bias = fold_norm(own.norm1, own.attention.qkv.weight, own.attention.qkv.bias)
    width, num_heads = weight.shape[1], own.attention.num_heads
    scale = torch.ones_like(bias)
    scale[:width] = (width // num_heads) ** -0.5
    weight, bias = weight * scale[:, None], bias * scale
    halves = torch.arange(2 * width, device=weight.device).view(2 * num_heads, 2, -1)
    swapped = halves.flip(1).flatten()
    return Linear.from_weight(
        torch.cat((weight, weight[swapped])), torch.cat((bias, bias[swapped]))
    )
