"""AdamW, with Muon for the hidden matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from pinxit.errors import UsageError
from pinxit.training.muon import FASTER, Muon, hidden_matrices
from pinxit.training.settings import TrainingSettings

if TYPE_CHECKING:
    pass


def build_optimizer(model: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    """AdamW (Loshchilov 2017), with Muon for the hidden matrices where asked.

    Vectors and scalars (biases, sigma) do not decay.
    """
    matrices = [] if settings.optimizer == "adamw" else hidden_matrices(model)
    if settings.optimizer == "muon" and not matrices:
        raise UsageError(
            "--optimizer muon is for models with transformer layers or residual convolutions; "
            "this has neither."
        )
    turned = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in turned]
    decay = settings.weight_decay
    groups = [
        {"params": [p for p in rest if p.ndim > 1], "weight_decay": decay, "muon": False},
        {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0, "muon": False},
        {"params": matrices, "weight_decay": decay / FASTER, "muon": True, "faster": FASTER}
        | {"bf16": settings.precision == "bf16"},
    ]
    groups = [group for group in groups if group["params"]]
    kind = Muon if matrices else torch.optim.AdamW
    return kind(groups, lr=settings.learning_rate or 1e-3, fused=True)
