"""One token's step through the transformer, with little besides its matrix products.

The numbers are those of `IGPT.logits`, in another order of operations:

- keys and values of all steps lie in a cache of fixed shape;
- a column is a sequence: `[width, batch]` is what tall matrices are multiplied by fastest;
- gains and biases of norms are multiplied into the matrices behind them. What a layer norm takes
  away, the mean, is taken from all that is added to the residual stream, so that an RMS is left;
- 1 / sqrt(head) is in the queries' matrix; x sigmoid(1.702 x) is silu(1.702 x) / 1.702, and the
  factors are in the matrices before and behind;
- no module is called: a small batch's products take as long as a few calls from Python.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from pinxit.nn.positions import apply_rotary
from pinxit.nn.transformer import Block

if TYPE_CHECKING:
    from pinxit.models.igpt.model import IGPT

QUICK = 1.702
Columns = Float[Tensor, "width batch"]


class Linear(NamedTuple):
    """A x + b of columns x; A is `[outputs, inputs]`, b `[outputs, 1]`."""

    matrix: Tensor
    bias: Tensor

    def __call__(self, x: Columns) -> Columns:
        return torch.addmm(self.bias, self.matrix, x)


class Layer(NamedTuple):
    """A block's matrices."""

    qkv: Linear
    out: Linear
    up: Linear
    down: Linear


class Cache(NamedTuple):
    """A layer's keys and values of fixed shape, and views of them as products want them."""

    whole: Tensor  # two batch heads tokens head
    keys: Tensor  # batch-and-heads head tokens
    values: Tensor  # batch-and-heads tokens head

    @classmethod
    def empty(cls, whole: Tensor) -> Cache:
        keys, values = whole.flatten(1, 2)
        return cls(whole, keys.transpose(1, 2), values)


class Steps:
    """The steps of a batch of sequences, from the first position on."""

    def __init__(self, model: IGPT, batch: int) -> None:
        assert model.config.width and model.config.heads, "a resolved configuration"
        self.width, self.heads, self.batch = model.config.width, model.config.heads, batch
        assert isinstance(model.norm, nn.LayerNorm | nn.RMSNorm)
        self.centred = isinstance(model.norm, nn.LayerNorm)
        self.eps = torch.as_tensor(model.norm.eps, device=model.device)
        self.layers = [_layer(layer, self.heads, self.centred) for layer in model.layers]  # type: ignore[arg-type]
        self.activation = F.silu if model.config.activation == "quick_gelu" else F.gelu
        self.head = _folded(model.norm, model.head.weight, None)
        self.places, self.rotation = model.places, model.rotation(model.seq_len)
        shape = (2, batch, self.heads, model.seq_len, self.width // self.heads)
        self.caches = [Cache.empty(model.head.weight.new_empty(shape)) for _ in self.layers]

    def __call__(
        self, h: Float[Tensor, "batch width"], t: int, wanted: bool = True
    ) -> Float[Tensor, "batch colors"] | None:
        """The scores of the token at position `t`, of which `h` is what is before it.

        Positions come one after another. Scores that are not `wanted` are not made.
        """
        h = h if self.places is None else h + self.places[t]
        x = (h - h.mean(1, keepdim=True) if self.centred else h).t().contiguous()
        for layer, cache in zip(self.layers, self.caches, strict=True):
            x = x + layer.out(self._mixed(layer.qkv(self._normalised(x)), cache, t))
            x = x + layer.down(self.activation(layer.up(self._normalised(x))))
        if not wanted:
            return None
        return torch.addmm(self.head.bias.t(), self._normalised(x).t(), self.head.matrix.t())

    def _normalised(self, x: Columns) -> Columns:
        norms = torch.linalg.vector_norm(x, dim=0)
        return x * torch.addcmul(self.eps, norms, norms, value=1 / self.width).rsqrt_()

    def _mixed(self, qkv: Columns, cache: Cache, t: int) -> Columns:
        """What attention takes from all positions up to this one."""
        qkv = qkv.view(3, self.heads, -1, self.batch).permute(0, 3, 1, 2)  # 3 batch heads head
        if self.rotation is not None:
            cos, sin = self.rotation
            qkv = torch.cat((apply_rotary(qkv[:2], (cos[t], sin[t])), qkv[2:]))
        query, new = qkv.split((1, 2))
        cache.whole.select(3, t).copy_(new)
        query = query.reshape(self.batch * self.heads, 1, -1)
        shares = torch.bmm(query, cache.keys.narrow(2, 0, t + 1)).softmax(-1)
        return torch.bmm(shares, cache.values.narrow(1, 0, t + 1)).view(self.batch, -1).t()


def _layer(block: Block, heads: int, centred: bool) -> Layer:
    qkv = _folded(block.norm1, block.attention.qkv.weight, block.attention.qkv.bias)
    width = qkv.matrix.shape[1]
    scale = torch.ones_like(qkv.bias)
    scale[:width] = (width // heads) ** -0.5
    qkv = Linear(qkv.matrix * scale, qkv.bias * scale)
    out, down = (_ending(part, centred) for part in (block.attention.out, block.down))
    up = _folded(block.norm2, block.up.weight, block.up.bias)
    if block.activation is not F.gelu:
        up = Linear(QUICK * up.matrix, QUICK * up.bias)
        down = Linear(down.matrix / QUICK, down.bias)
    return Layer(qkv, out, up, down)


def _folded(norm: nn.Module, weight: Tensor, bias: Tensor | None) -> Linear:
    """A linear layer behind a norm's gain and bias, as one behind the bare norm."""
    assert isinstance(norm, nn.LayerNorm | nn.RMSNorm)
    assert norm.weight is not None
    total = weight.new_zeros(len(weight)) if bias is None else bias
    if isinstance(norm, nn.LayerNorm):
        total = total + weight @ norm.bias
    return Linear(weight * norm.weight, total[:, None])


def _ending(layer: nn.Linear, centred: bool) -> Linear:
    """A branch's last layer; what it adds has no mean where norms would take it away."""
    matrix, bias = layer.weight, layer.bias[:, None]
    if centred:
        matrix, bias = matrix - matrix.mean(0), bias - bias.mean()
    return Linear(matrix, bias)
