"""One token's step through the transformer, with little besides its matrix products.

The numbers are those of `IGPT.logits`, in another order of operations:

- keys and values of all steps lie in a cache of fixed shape;
- gains and biases of norms are multiplied into the matrices behind them;
- x sigmoid(1.702 x) is silu(1.702 x) / 1.702: the factors go into the matrices too;
- no module is called: a small batch's products take as long as a few calls from Python.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from pinxit.models.transformer import Block, rotated

if TYPE_CHECKING:
    from pinxit.models.igpt.model import IGPT

QUICK = 1.702
Hidden = Float[Tensor, "batch width"]


class Linear(NamedTuple):
    """x A + b; A is `[inputs, outputs]`."""

    matrix: Tensor
    bias: Tensor


class Layer(NamedTuple):
    """A block's matrices."""

    qkv: Linear
    out: Linear
    up: Linear
    down: Linear


class Steps:
    """The steps of a batch of sequences, from the first position on."""

    def __init__(self, model: IGPT, batch: int) -> None:
        assert model.config.width and model.config.heads, "a resolved configuration"
        self.width, self.heads = model.config.width, model.config.heads
        head = self.width // self.heads
        self.layers = [_layer(layer) for layer in model.layers]  # type: ignore[arg-type]
        self.normalised = _normalised(model.norm, self.width)
        self.quick = model.config.activation == "quick_gelu"
        self.head = _folded(model.norm, model.head.weight, None)
        self.places, self.rotation = model.places, model.rotation(model.tokens)
        shape = (len(self.layers), 2, batch, self.heads, model.tokens, head)
        self.cache = model.head.weight.new_zeros(shape)

    def __call__(self, h: Hidden, t: int, wanted: bool = True) -> Float[Tensor, "batch c"] | None:
        """The scores of the token at position `t`, of which `h` is what is before it.

        Positions come one after another. Scores that are not `wanted` are not made.
        """
        if self.places is not None:
            h = h + self.places[t]
        for layer, cache in zip(self.layers, self.cache, strict=True):
            h = self._after(layer, cache, h, t)
        if not wanted:
            return None
        return torch.addmm(self.head.bias, self.normalised(h), self.head.matrix)

    def _after(self, layer: Layer, cache: Tensor, h: Hidden, t: int) -> Hidden:
        batch = len(h)
        qkv = torch.addmm(layer.qkv.bias, self.normalised(h), layer.qkv.matrix)
        qkv = qkv.view(batch, 3, self.heads, -1)
        if self.rotation is not None:
            cos, sin = self.rotation
            turned = rotated(qkv[:, :2], (cos[t], sin[t]))
            qkv = torch.cat((turned, qkv[:, 2:]), 1)
        cache[:, :, :, t] = qkv[:, 1:].transpose(0, 1)
        keys, values = cache[:, :, :, : t + 1].unbind(0)
        mixed = F.scaled_dot_product_attention(qkv[:, 0].unsqueeze(2), keys, values)
        h = h + torch.addmm(layer.out.bias, mixed.view(batch, -1), layer.out.matrix)
        wide = torch.addmm(layer.up.bias, self.normalised(h), layer.up.matrix)
        wide = F.silu(wide, inplace=True) if self.quick else F.gelu(wide)
        return h + torch.addmm(layer.down.bias, wide, layer.down.matrix)


def _layer(block: Block) -> Layer:
    qkv = _folded(block.norm1, block.attention.qkv.weight, block.attention.qkv.bias)
    up = _folded(block.norm2, block.up.weight, block.up.bias)
    down = Linear(block.down.weight.t().contiguous(), block.down.bias)
    if block.activation is not F.gelu:
        up = Linear(QUICK * up.matrix, QUICK * up.bias)
        down = Linear(down.matrix / QUICK, down.bias)
    out = Linear(block.attention.out.weight.t().contiguous(), block.attention.out.bias)
    return Layer(qkv, out, up, down)


def _folded(norm: nn.Module, weight: Tensor, bias: Tensor | None) -> Linear:
    """A linear layer behind a norm's gain and bias, as one behind the bare norm."""
    assert isinstance(norm, nn.LayerNorm | nn.RMSNorm)
    shift = getattr(norm, "bias", None)
    total = weight.new_zeros(len(weight)) if bias is None else bias
    if shift is not None:
        total = total + weight @ shift
    assert norm.weight is not None
    return Linear((weight * norm.weight).t().contiguous(), total)


def _normalised(norm: nn.Module, width: int) -> Callable[[Tensor], Tensor]:
    """The bare norm: no gain, no bias."""
    if isinstance(norm, nn.LayerNorm):
        return lambda h: F.layer_norm(h, (width,), eps=norm.eps)
    assert isinstance(norm, nn.RMSNorm)
    return lambda h: F.rms_norm(h, (width,), eps=norm.eps)
