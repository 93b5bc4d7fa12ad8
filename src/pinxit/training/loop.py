"""The loop: a generator that yields what happened at each step.

Whoever runs it decides when to evaluate, draw, checkpoint or stop. A step's chance is a function
of (seed, step) alone, so resuming needs the weights, the optimizer and a few counts: no state of
any generator.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from pinxit.data.batch import Batch
from pinxit.data.pictures import Pictures
from pinxit.models.blocks import mix
from pinxit.training.schedule import average_decay, learning_rate, order
from pinxit.training.settings import Settings

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass
class State:
    """Counts that a checkpoint keeps beside the tensors."""

    step: int = 0
    seconds: float = 0.0  # of training, over all sessions
    progress: float = 0.0  # of the last step
    skipped: int = 0
    skipped_in_a_row: int = 0
    norm: float = 0.0  # running mean of the gradient norm
    best: float = math.inf  # validation loss of the weights in model.safetensors


@dataclass(frozen=True)
class Step:
    """What happened at a step. `parts` stay tensors: reading each would wait for the device."""

    number: int  # counted from 1
    progress: float
    before: float  # progress of the step before
    loss: Tensor
    parts: dict[str, Tensor]
    learning_rate: float
    norm: float
    skipped: bool

    def passed(self, marks: int) -> bool:
        """Whether this step went past one of so many even marks over the budget."""
        return math.floor(self.progress * marks) > math.floor(self.before * marks)


@dataclass
class Trainer:
    """The parts of a training that a step changes."""

    fabric: Fabric
    model: Any  # as Fabric set it up
    optimizer: Any
    average: list[Tensor]  # running average of the parameters, in their order
    state: State = field(default_factory=State)

    @property
    def module(self) -> nn.Module:
        return self.model.module

    @property
    def parameters(self) -> list[nn.Parameter]:
        return list(self.module.parameters())


def batches(pictures: Pictures, rows: np.ndarray, trainer: Trainer, size: int, seed: int):
    """This process's share of each batch, gathered one ahead by a thread."""
    fabric = trainer.fabric
    chosen = order(len(rows), size, seed, trainer.state.step)
    share = slice(fabric.global_rank, None, fabric.world_size)

    def gather(numbers: np.ndarray) -> Batch:
        return pictures.batch(rows[numbers[share]])

    with ThreadPoolExecutor(1) as thread:
        ahead = thread.submit(gather, next(chosen))
        while True:
            batch = ahead.result()
            ahead = thread.submit(gather, next(chosen))
            yield batch.to(fabric.device)


def training(
    trainer: Trainer,
    pictures: Pictures,
    rows: np.ndarray,
    settings: Settings,
    progress: Callable[[State], float],
) -> Iterator[Step]:
    """Train until `progress(state)` reaches 1, on the pictures with these row numbers."""
    state, optimizer, parameters = trainer.state, trainer.optimizer, trainer.parameters
    assert settings.batch_size and settings.learning_rate, "resolved settings"
    source = batches(pictures, rows, trainer, settings.batch_size, settings.seed)
    rank = trainer.fabric.global_rank
    while (now := progress(state)) < 1:
        batch = next(source)
        torch.manual_seed(mix(mix(settings.seed, state.step), rank))
        rate = learning_rate(settings.learning_rate, state.step, settings.warmup, now)
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = trainer.model.loss(batch, now)
        trainer.fabric.backward(loss.total)
        norm = float(
            torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        )
        finite = math.isfinite(norm)  # a loss that is not finite has no finite gradient
        if finite:
            _clip(parameters, norm, settings.clip * state.norm)
            optimizer.step()
            decay = average_decay(settings.ema, state.step)
            torch._foreach_lerp_(  # pyright: ignore[reportPrivateImportUsage]
                trainer.average, [p.detach() for p in parameters], 1 - decay
            )
            state.norm = (
                norm if state.norm == 0 else 0.99 * state.norm + 0.01 * min(norm, 4 * state.norm)
            )
        optimizer.zero_grad()
        state.step += 1
        state.skipped += not finite
        state.skipped_in_a_row = 0 if finite else state.skipped_in_a_row + 1
        before, state.progress = state.progress, now
        yield Step(state.step, now, before, loss.total.detach(), loss.parts, rate, norm, not finite)


def _clip(parameters: list[nn.Parameter], norm: float, most: float) -> None:
    """Scale gradients down to the norm `most` where theirs is above; 0 is no bound."""
    if 0 < most < norm:
        torch._foreach_mul_(  # pyright: ignore[reportPrivateImportUsage]
            [p.grad for p in parameters if p.grad is not None], most / norm
        )


def adamw(model: nn.Module, settings: Settings) -> torch.optim.AdamW:
    """AdamW (Loshchilov 2017); vectors and scalars (biases, sigma) do not decay."""
    decaying = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [
        {"params": decaying, "weight_decay": settings.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    return torch.optim.AdamW(groups, lr=settings.learning_rate or 1e-3, fused=True)
