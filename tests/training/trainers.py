"""A model whose loss a test decides, and trainers around it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn

from pinxit.models.results import Loss
from pinxit.training.loop import Counters, Step, TrainState, train_steps
from pinxit.training.optimizers import build_optimizer
from pinxit.training.settings import TrainingSettings

SETTINGS: dict[str, Any] = {"batch_size": 8, "learning_rate": 1e-2, "warmup_steps": 0}


class Regression(nn.Module):
    """Learns the mean image from noisy ones; `change` may spoil the loss of a call."""

    def __init__(self, numbers: int = 64, change: Any = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, numbers))
        self.bias = nn.Parameter(torch.zeros(1))
        self.change, self.calls, self.seen = change, 0, []

    def loss(self, batch: Any, progress: float = 1.0) -> Loss:
        x = batch.pixels.flatten(1).float() / 255
        noisy = x + 0.1 * torch.randn(x.shape)
        total = (noisy - self.weight - self.bias).square().sum(1).mean()
        self.calls += 1
        self.seen.append(progress)
        if self.change is not None:
            total = self.change(self.calls, total)
        return Loss(total, {"error": total.detach()}, "squared error")


def trainer(model: nn.Module, state: Counters | None = None, **settings: Any) -> TrainState:
    fabric = Fabric(accelerator="cpu")
    wrapped, optimizer = fabric.setup(
        model, build_optimizer(model, TrainingSettings(**{**SETTINGS, **settings}))
    )
    wrapped.mark_forward_method("loss")
    average = [p.detach().clone() for p in model.parameters()]
    return TrainState(fabric, wrapped, optimizer, average, state or Counters())


def steps(of: TrainState, images: Any, total: int, **settings: Any) -> list[Step]:
    """All steps of a budget."""
    chosen = TrainingSettings(**{**SETTINGS, "steps": total, **settings})
    rows = np.arange(len(images))
    return list(train_steps(of, images, rows, chosen, lambda state: state.step / total))
