"""Muon beside AdamW, as one optimizer (Jordan 2024, "Muon: an optimizer for hidden layers").

The matrices of transformer layers and of residual convolutions (each output channel's kernel a row)
move by their momentum with all its singular values near one; all else (embeddings, heads, norms,
biases) moves by AdamW. torch.optim.Muon is not taken: its products are in bf16, which a CPU without
bf16 units does 30 times slower than fp32, it turns matrices one by one, and it wants a second
optimizer for the rest.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pinxit.nn.attention import CrossAttention
from pinxit.nn.layers import ResidualConv
from pinxit.nn.transformer import Block

MOMENTUM = 0.95
FASTER = 7.0  # the learning rate of matrices over that of the rest: 0.02 beside 3e-3
lists: Any = torch  # of `_foreach_...`: operations on lists of tensors, which its stubs leave out
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
            rows = torch.stack(self._moments(parameters)).flatten(2)
            updates = orthogonal(rows, group["bf16"]).to(rows.dtype).unflatten(2, shape[1:])
            rate = group["lr"] * max(1.0, rows.shape[1] / rows.shape[2]) ** 0.5
            lists._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
            lists._foreach_add_(parameters, list(updates), alpha=-rate)

    def _moments(self, parameters: list[Tensor]) -> list[Tensor]:
        """Nesterov's: gradients moved towards their running means."""
        gradients = [p.grad for p in parameters]
        for p in parameters:
            if "momentum" not in self.state[p]:
                self.state[p]["momentum"] = torch.zeros_like(p)
        means = [self.state[p]["momentum"] for p in parameters]
        lists._foreach_lerp_(means, gradients, 1 - MOMENTUM)
        return lists._foreach_lerp(gradients, means, MOMENTUM)


def orthogonal(matrices: Matrices, bf16: bool = False) -> Matrices:
    """Near U V^T of each matrix U S V^T: singular values of 0.7 to 1.2, by five steps of a quintic.

    bf16 is enough, and faster where there are units for it: a fifth of the time on a core with AMX.
    """
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.transpose(1, 2) if tall else matrices
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)
    x = x.to(torch.bfloat16 if bf16 else torch.float32).contiguous()
    a, b, c = COEFFICIENTS
    for _ in range(STEPS):
        square = x @ x.transpose(1, 2)
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
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
