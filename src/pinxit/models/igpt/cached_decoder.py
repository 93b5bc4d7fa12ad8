"""One decoding step of a causal `TokenTransformer`, with few operations beside matrix products.

Computes the logits of `TokenTransformer.logits`, in another order of operations:

- keys and values of all steps are in a cache of fixed shape;
- a column is a sequence: tall matrices multiply `[width, batch]` fastest;
- gains and biases of norms are folded into the matrices after them. The mean that a layer norm
  subtracts is subtracted from everything added to the residual stream, which leaves an RMS norm;
- 1 / sqrt(head_dim) is folded into the queries' matrix; x sigmoid(1.702 x) is
  silu(1.702 x) / 1.702, with the factors folded into the matrices before and after it;
- no module is called: the products of a small batch take as long as a few Python calls.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from pinxit.models.igpt.network import TokenTransformer
from pinxit.nn.folding import fold_norm
from pinxit.nn.positions import apply_rotary
from pinxit.nn.transformer import Block

QUICK_GELU_SCALE = 1.702
Columns = Float[Tensor, "width batch"]


class Linear(NamedTuple):
    """A x + b for columns x; A is `[outputs, inputs]`, b `[outputs, 1]`."""

    matrix: Tensor
    bias: Tensor

    def __call__(self, x: Columns) -> Columns:
        return torch.addmm(self.bias, self.matrix, x)


class LayerWeights(NamedTuple):
    """The matrices of one transformer block."""

    qkv: Linear
    out: Linear
    up: Linear
    down: Linear


class FlatKVCache(NamedTuple):
    """A layer's keys and values of fixed shape, and views of them as `bmm` needs them."""

    storage: Float[Tensor, "two batch heads tokens head_dim"]
    keys: Float[Tensor, "batch_heads head_dim tokens"]
    values: Float[Tensor, "batch_heads tokens head_dim"]

    @classmethod
    def from_storage(cls, storage: Tensor) -> FlatKVCache:
        keys, values = storage.flatten(1, 2)
        return cls(storage, keys.transpose(1, 2), values)


class CachedDecoder:
    """Decodes a batch of sequences, one position after another."""

    def __init__(self, network: TokenTransformer, batch: int) -> None:
        norm = network.norm
        assert isinstance(norm, nn.LayerNorm | nn.RMSNorm)
        self.batch, self.num_heads = batch, network.num_heads
        self.width = network.num_heads * network.head_dim
        self.centered = isinstance(norm, nn.LayerNorm)
        self.eps = torch.as_tensor(norm.eps, device=network.device)
        self.layers = [
            _fold_block(block, network.num_heads, self.centered)
            for block in network.layers
            if isinstance(block, Block)
        ]
        self.activation = F.silu if network.quick_gelu else F.gelu  # see `_fold_block`
        self.head = _fold_norm(norm, network.head.weight, None)
        self.pos_embed, self.rotary = network.pos_embed, network.rotary()
        shape = (2, batch, network.num_heads, network.seq_len, network.head_dim)
        self.caches = [
            FlatKVCache.from_storage(network.head.weight.new_empty(shape)) for _ in self.layers
        ]

    def __call__(
        self, h: Float[Tensor, "batch width"], t: int, need_logits: bool = True
    ) -> Float[Tensor, "batch vocab"] | None:
        """Return the logits of the token at position t; None unless `need_logits`.

        `h` is the embedding of the token before it (the start token at t = 0). Call with
        t = 0, 1, 2, ... in order.
        """
        h = h if self.pos_embed is None else h + self.pos_embed[t]
        x = (h - h.mean(1, keepdim=True) if self.centered else h).t().contiguous()
        for layer, cache in zip(self.layers, self.caches, strict=True):
            x = x + layer.out(self._attend(layer.qkv(self._rms_norm(x)), cache, t))
            x = x + layer.down(self.activation(layer.up(self._rms_norm(x))))
        if not need_logits:
            return None
        return torch.addmm(self.head.bias.t(), self._rms_norm(x).t(), self.head.matrix.t())

    def _rms_norm(self, x: Columns) -> Columns:
        norms = torch.linalg.vector_norm(x, dim=0)
        return x * torch.addcmul(self.eps, norms, norms, value=1 / self.width).rsqrt_()

    def _attend(self, qkv: Columns, cache: FlatKVCache, t: int) -> Columns:
        """Attend from position t to itself and all before; append its key and value."""
        qkv = qkv.view(3, self.num_heads, -1, self.batch).permute(0, 3, 1, 2)  # 3 batch heads dim
        if self.rotary is not None:
            cos, sin = self.rotary
            qkv = torch.cat((apply_rotary(qkv[:2], (cos[t], sin[t])), qkv[2:]))
        query, key_value = qkv.split((1, 2))
        cache.storage.select(3, t).copy_(key_value)
        query = query.reshape(self.batch * self.num_heads, 1, -1)
        weights = torch.bmm(query, cache.keys.narrow(2, 0, t + 1)).softmax(-1)
        return torch.bmm(weights, cache.values.narrow(1, 0, t + 1)).view(self.batch, -1).t()


def _fold_block(block: Block, num_heads: int, centered: bool) -> LayerWeights:
    """Fold norms, the attention scale and the factor of quick GELU into a block's matrices."""
    qkv = _fold_norm(block.norm1, block.attention.qkv.weight, block.attention.qkv.bias)
    width = qkv.matrix.shape[1]
    scale = torch.ones_like(qkv.bias)
    scale[:width] = (width // num_heads) ** -0.5
    qkv = Linear(qkv.matrix * scale, qkv.bias * scale)
    out, down = (_center_output(layer, centered) for layer in (block.attention.out, block.down))
    up = _fold_norm(block.norm2, block.up.weight, block.up.bias)
    if block.activation is not F.gelu:
        up = Linear(QUICK_GELU_SCALE * up.matrix, QUICK_GELU_SCALE * up.bias)
        down = Linear(down.matrix / QUICK_GELU_SCALE, down.bias)
    return LayerWeights(qkv, out, up, down)


def _fold_norm(norm: nn.Module, weight: Tensor, bias: Tensor | None) -> Linear:
    """Fold a norm's gain and bias into the linear layer after it."""
    matrix, bias = fold_norm(norm, weight, bias)
    return Linear(matrix, bias[:, None])


def _center_output(layer: nn.Linear, centered: bool) -> Linear:
    """Return the last layer of a residual branch; `centered`: subtract the outputs' mean."""
    matrix, bias = layer.weight, layer.bias[:, None]
    if centered:
        matrix, bias = matrix - matrix.mean(0), bias - bias.mean()
    return Linear(matrix, bias)
