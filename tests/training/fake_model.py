"""A model whose loss a test can spoil, and training loops of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from pinxit.data.images import Images
from pinxit.models.results import Loss
from pinxit.training.loop import Counters, StepResult, TrainState, create_train_state, train_steps
from pinxit.training.settings import TrainingSettings

SETTINGS: dict[str, Any] = {"batch_size": 8, "learning_rate": 1e-2, "warmup_steps": 0}


class MeanImageModel(nn.Module):
    """Learns the mean of noisy images; `spoil(call, loss)` may change the loss of a call."""

    def __init__(
        self, num_pixels: int = 64, spoil: Callable[[int, Tensor], Tensor] | None = None
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, num_pixels))
        self.bias = nn.Parameter(torch.zeros(1))
        self.spoil, self.calls = spoil, 0
        self.progress: list[float] = []  # of each call

    def loss(self, batch: Any, progress: float = 1.0) -> Loss:
        x = batch.pixels.flatten(1).float() / 255
        noisy = x + 0.1 * torch.randn(x.shape)
        total = (noisy - self.weight - self.bias).square().sum(1).mean()
        self.calls += 1
        self.progress.append(progress)
        if self.spoil is not None:
            total = self.spoil(self.calls, total)
        return Loss(total, {"error": total.detach()}, "squared error")


def make_state(model: nn.Module, counters: Counters | None = None, **settings: Any) -> TrainState:
    options = TrainingSettings(**{**SETTINGS, **settings})
    return create_train_state(model, options, Fabric(accelerator="cpu"), counters)


def run_steps(
    state: TrainState,
    images: Images,
    total: int,
    last: int | None = None,
    **settings: Any,
) -> list[StepResult]:
    """Train up to step `last`, or to the end, of a budget of `total` steps."""
    options = TrainingSettings(**{**SETTINGS, "steps": total, **settings})
    end = last or total

    def measure_progress(counters: Counters) -> float:
        return 1.0 if counters.step >= end else counters.step / total

    rows = images.split_indices("all")
    return list(train_steps(state, images, rows, options, measure_progress))
