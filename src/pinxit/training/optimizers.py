"""The optimizer of training: AdamW, with Muon for the hidden matrices."""

from __future__ import annotations

import torch
from torch import nn

from pinxit.training.muon import LR_RATIO, Muon, find_hidden_matrices
from pinxit.training.settings import TrainingSettings
from pinxit.training.sharding import is_sharded


def build_optimizer(model: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    """Build AdamW (Loshchilov 2017), and Muon for hidden matrices unless `optimizer` is `adamw`.

    Vectors and scalars (biases, norms, sigma) have no weight decay. The loop multiplies the
    learning rate by a group's `lr_ratio`.
    """
    matrices = [] if settings.optimizer == "adamw" else find_hidden_matrices(model)
    hidden = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in hidden]
    decay = settings.weight_decay
    groups = [
        {"params": [p for p in rest if p.ndim > 1], "weight_decay": decay, "muon": False},
        {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0, "muon": False},
        {"params": matrices, "weight_decay": decay / LR_RATIO, "muon": True, "lr_ratio": LR_RATIO}
        | {"bf16": settings.precision == "bf16"},
    ]
    # fused AdamW takes divided parameters or whole ones, not both at once
    groups = [
        {**group, "params": params}
        for group in groups
        for params in (
            [p for p in group["params"] if is_sharded(p)],
            [p for p in group["params"] if not is_sharded(p)],
        )
        if params
    ]
    optimizer = Muon if matrices else torch.optim.AdamW
    return optimizer(groups, lr=settings.learning_rate or 1e-3, fused=True)
