"""Weights of a layer with the gains and biases of the norm before it: for fast decoding steps."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn


def fold_norm(
    norm: nn.Module, weight: Float[Tensor, "outputs inputs"], bias: Float[Tensor, " outputs"] | None
) -> tuple[Float[Tensor, "outputs inputs"], Float[Tensor, " outputs"]]:
    """Fold a norm's gain and bias into the linear layer after it; returns weight and bias.

    What is left of the norm has neither: `weight @ norm(x) + bias` stays as it was.
    """
    assert isinstance(norm, nn.LayerNorm | nn.RMSNorm)
    assert norm.weight is not None
    total = weight.new_zeros(len(weight)) if bias is None else bias
    if isinstance(norm, nn.LayerNorm):
        total = total + weight @ norm.bias
    return weight * norm.weight, total
