"""Muon beside AdamW, as one optimizer (Jordan 2024, "Muon: an optimizer for hidden layers").

The matrices of transformer layers and of residual convolutions (each output channel's kernel a row)
move by their momentum with all its singular values near one; all else (embeddings, heads, norms,
biases) moves by AdamW. torch.optim.Muon is not taken: its
products are in bf16, which a CPU without bf16 units does 30 times slower than fp32, and it wants a
second optimizer for the rest.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pinxit.models.blocks import ResidualConv
from pinxit.models.transformer import Block, CrossAttention

MOMENTUM = 0.95
FASTER = 7.0  # the learning rate of matrices over that of the rest: 0.02 beside 3e-3
COEFFICIENTS = 3.4445, -4.7750, 2.0315
STEPS = 5

Matrices = Float[Tensor, "count rows columns"]


class Muon(torch.optim.AdamW):
    """AdamW, but for the groups with `muon` set."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        groups = self.param_groups
        self.param_groups = [group for group in groups if not group["muon"]]
        try:
            loss = super().step(closure)
        finally:
            self.param_groups = groups
        for group in groups:
            if group["muon"]:
                self._turn(group)
        return loss

    def _turn(self, group: dict[str, Any]) -> None:
        """Matrices of one shape go together: few large products."""
        alike: dict[torch.Size, list[Tensor]] = defaultdict(list)
        for p in group["params"]:
            if p.grad is not None:
                alike[p.shape].append(p)
        for shape, parameters in alike.items():
            rows = torch.stack([self._momentum(p).flatten(1) for p in parameters])
            updates = orthogonal(rows).unflatten(2, shape[1:])
            rate = group["lr"] * max(1.0, rows.shape[1] / rows.shape[2]) ** 0.5
            for p, update in zip(parameters, updates, strict=True):
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(update.to(p.dtype), alpha=-rate)

    def _momentum(self, p: Tensor) -> Tensor:
        """Nesterov's: the gradient moved towards its running mean."""
        state = self.state[p]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(p)
        assert p.grad is not None
        state["momentum"].lerp_(p.grad, 1 - MOMENTUM)
        return p.grad.lerp(state["momentum"], MOMENTUM)


def orthogonal(matrices: Matrices) -> Matrices:
    """Near U V^T of each matrix U S V^T: singular values of 0.7 to 1.2, by five steps of a quintic.

    In fp32 on a CPU; in bf16 elsewhere, which is enough.
    """
    x = matrices.float() if matrices.device.type == "cpu" else matrices.bfloat16()
    tall = x.shape[1] > x.shape[2]
    x = x.transpose(1, 2) if tall else x
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)
    a, b, c = COEFFICIENTS
    for _ in range(STEPS):
        square = x @ x.transpose(1, 2)
        x = a * x + torch.baddbmm(square, square, square, beta=b, alpha=c) @ x
    return x.transpose(1, 2) if tall else x


def hidden_matrices(model: nn.Module) -> list[Tensor]:
    """The weights of the linear layers in transformer blocks and of residual convolutions."""
    found = {
        id(layer.weight): layer.weight
        for block in model.modules()
        if isinstance(block, Block | CrossAttention | ResidualConv)
        for layer in block.modules()
        if isinstance(layer, nn.Linear | nn.Conv2d)
    }
    return list(found.values())
