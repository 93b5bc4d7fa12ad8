"""Muon beside AdamW, as one optimizer (Jordan 2024, "Muon: an optimizer for hidden layers").

Matrices of transformer layers and residual convolutions (a row per output channel) are updated by
their orthogonalized momentum, whose singular values are all near one; everything else (embeddings,
heads, norms, biases) by AdamW.

Not torch.optim.Muon, because it computes in bf16, which is 30 times slower than fp32 on a CPU
without bf16 units, orthogonalizes matrices one by one, and needs a second optimizer for the rest.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pinxit.training.processes import current_processes
from pinxit.training.sharding import gather_full, is_sharded, locals_of, part_of

MOMENTUM = 0.95
LR_RATIO = 7.0  # Muon's learning rate over AdamW's: 0.02 and 3e-3
NEWTON_SCHULZ_COEFFICIENTS = 3.4445, -4.7750, 2.0315
NEWTON_SCHULZ_STEPS = 5

foreach: Any = torch  # `torch._foreach_*` work on lists of tensors; torch's stubs leave them out

Matrices = Float[Tensor, "count rows columns"]


class Muon(torch.optim.AdamW):
    """AdamW with Muon for the parameter groups that have `muon` set.

    Parameters may be divided among processes (fsdp); all processes take each step together.
    """

    def __init__(self, params: Any, **options: Any) -> None:
        super().__init__(params, **options)
        self.processes = current_processes()

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
                self._muon_update(group)
        return loss

    def _muon_update(self, group: dict[str, Any]) -> None:
        """Update the matrices of each shape together: few large products."""
        by_shape: dict[torch.Size, list[Tensor]] = defaultdict(list)
        for p in group["params"]:
            if p.grad is not None:
                by_shape[p.shape].append(p)
        for shape, parameters in by_shape.items():
            momentum = self._nesterov_momentum(parameters).flatten(2)
            updates = self._orthogonalize(momentum, group["bf16"]).to(momentum.dtype)
            lr = group["lr"] * max(1.0, momentum.shape[1] / momentum.shape[2]) ** 0.5
            updates = list(updates.unflatten(2, shape[1:]))
            parts = [part_of(update, p) for update, p in zip(updates, parameters, strict=True)]
            parts = [part for part in parts if part.numel()]
            values = locals_of(parameters)
            foreach._foreach_mul_(values, 1 - group["lr"] * group["weight_decay"])
            foreach._foreach_add_(values, parts, alpha=-lr)

    def _orthogonalize(self, matrices: Matrices, bf16: bool) -> Matrices:
        """Orthogonalize matrices; of several processes each does a part of them, for all."""
        if self.processes.world_size == 1:
            return orthogonalize(matrices, bf16)
        size = -(-len(matrices) // self.processes.world_size)
        start = size * self.processes.rank
        own = matrices.new_zeros(size, *matrices.shape[1:])
        part = matrices[start : start + size]
        if len(part):
            own[: len(part)] = orthogonalize(part, bf16)
        whole = own.new_empty(self.processes.world_size * size, *own.shape[1:])
        torch.distributed.all_gather_single(whole, own)
        return whole[: len(matrices)]

    def _nesterov_momentum(self, parameters: list[Tensor]) -> Float[Tensor, "count ..."]:
        """Update the moving averages of the gradients and blend the gradients into them.

        Of divided parameters the whole matrices are returned, which can be orthogonalized.
        """
        gradients = [p.grad for p in parameters if p.grad is not None]
        for p in parameters:
            if "momentum" not in self.state[p]:
                self.state[p]["momentum"] = torch.zeros_like(p)
        means = [self.state[p]["momentum"] for p in parameters]
        foreach._foreach_lerp_(locals_of(means), locals_of(gradients), 1 - MOMENTUM)
        if is_sharded(parameters[0]):
            gradients, means = (
                [gather_full(tensor) for tensor in tensors] for tensors in (gradients, means)
            )
        if gradients[0].device.type != "cpu":  # few kernels
            return torch.stack(foreach._foreach_lerp(gradients, means, MOMENTUM))
        blended = gradients[0].new_empty(len(parameters), *gradients[0].shape)
        for gradient, mean, row in zip(gradients, means, blended, strict=True):
            torch.lerp(gradient, mean, MOMENTUM, out=row)  # `stack` would copy it
        return blended


def orthogonalize(matrices: Matrices, bf16: bool = False) -> Matrices:
    """Approximate U V^T of each matrix U S V^T by five Newton-Schulz steps with a quintic.

    Singular values end between 0.7 and 1.2. bf16 is precise enough, and takes a fifth of the time
    on a CPU core with AMX.
    """
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.to(torch.bfloat16 if bf16 else torch.float32)
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)
    x = (x.transpose(1, 2) if tall else x).contiguous()
    a, b, c = NEWTON_SCHULZ_COEFFICIENTS
    for _ in range(NEWTON_SCHULZ_STEPS):
        square = x @ x.transpose(1, 2)
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x.transpose(1, 2) if tall else x


def find_hidden_matrices(model: nn.Module) -> list[Tensor]:
    """Return the weights of linear layers and convolutions in modules with `hidden_matrices`.

    That is a class attribute of modules that only map hidden states to hidden states: transformer
    layers, residual convolutions.
    """
    weights = {
        id(layer.weight): layer.weight
        for block in model.modules()
        if getattr(block, "hidden_matrices", False)
        for layer in block.modules()
        # the weights of a frozen model that this one contains are buffers
        if isinstance(layer, nn.Linear | nn.Conv2d) and isinstance(layer.weight, nn.Parameter)
    }
    return list(weights.values())
