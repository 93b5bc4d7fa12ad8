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
from pinxit.data.images import Images
from pinxit.nn.rng import mix_seed
from pinxit.training.schedule import batch_order, ema_decay_at, learning_rate
from pinxit.training.settings import TrainingSettings

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass
class Counters:
    """Counts that a checkpoint keeps beside the tensors."""

    step: int = 0
    seconds: float = 0.0  # of training, over all sessions
    skipped: int = 0
    skipped_in_a_row: int = 0
    norm: float = 0.0  # running mean of the gradient norm
    best: float = math.inf  # validation loss of the weights in model.safetensors


@dataclass(frozen=True)
class Step:
    """What happened at a step. `parts` stay tensors: reading each would wait for the device."""

    number: int  # counted from 1
    progress: float  # share of the budget that is spent, this step counted
    before: float  # the same without it
    loss: Tensor  # over the whole batch; parts are of this process's share
    parts: dict[str, Tensor]
    unit: str
    learning_rate: float
    norm: float
    skipped: bool

    def passed(self, marks: int) -> bool:
        """Whether this step went past one of so many even marks over the budget."""
        return math.floor(self.progress * marks) > math.floor(self.before * marks)


@dataclass
class TrainState:
    """The parts of a training that a step changes."""

    fabric: Fabric
    model: Any  # as Fabric set it up
    optimizer: Any
    average: list[Tensor]  # running average of the parameters, in their order
    state: Counters = field(default_factory=Counters)

    @property
    def module(self) -> nn.Module:
        return self.model.module

    @property
    def parameters(self) -> list[nn.Parameter]:
        return list(self.module.parameters())


def batches(
    images: Images, rows: np.ndarray, trainer: TrainState, size: int, seed: int
) -> Iterator[Batch]:
    """This process's share of each batch, gathered one ahead by a thread."""
    fabric = trainer.fabric
    chosen = batch_order(len(rows), size, seed, trainer.state.step)
    share = slice(fabric.global_rank, None, fabric.world_size)

    def gather(numbers: np.ndarray) -> Batch:
        return images.batch(rows[numbers[share]])

    with ThreadPoolExecutor(1) as thread:
        ahead = thread.submit(gather, next(chosen))
        while True:
            batch = ahead.result()
            ahead = thread.submit(gather, next(chosen))
            yield batch.to(fabric.device)


def train_steps(
    trainer: TrainState,
    images: Images,
    rows: np.ndarray,
    settings: TrainingSettings,
    progress: Callable[[Counters], float],
) -> Iterator[Step]:
    """Train until `progress(state)` reaches 1, on the images with these row numbers."""
    state, optimizer = trainer.state, trainer.optimizer
    assert settings.batch_size and settings.learning_rate, "resolved settings"
    source = batches(images, rows, trainer, settings.batch_size, settings.seed)
    now = progress(state)
    while now < 1:
        batch = next(source)
        seed_generators(
            mix_seed(mix_seed(settings.seed, state.step), trainer.fabric.global_rank), batch
        )
        rate = learning_rate(settings.learning_rate, state.step, settings.warmup_steps, now)
        for group in optimizer.param_groups:
            group["lr"] = rate * group.get("faster", 1.0)
        with trainer.fabric.autocast():  # Fabric wraps `forward` in it, not a marked method
            loss = trainer.model.loss(batch, now)
        trainer.fabric.backward(loss.total)
        total, norm = _measured(trainer, loss.total.detach())
        finite = math.isfinite(norm)
        if finite:
            _update(trainer, norm, settings)
        optimizer.zero_grad()
        state.step += 1
        state.skipped += not finite
        state.skipped_in_a_row = 0 if finite else state.skipped_in_a_row + 1
        before, now = now, progress(state)
        yield Step(
            state.step, now, before, total, loss.parts, loss.unit, rate, norm, skipped=not finite
        )


def seed_generators(seed: int, batch: Batch) -> None:
    """Set the generators that a model draws from.

    Not by `torch.manual_seed`: without a CUDA device that stores a stack trace at each call, for
    the day that CUDA begins; 1 to 2 ms a step, and memory that grows.
    """
    torch.default_generator.manual_seed(seed)
    if batch.pixels.is_cuda:
        torch.cuda.manual_seed(seed)
    elif batch.pixels.is_mps:
        torch.mps.manual_seed(seed)


def _measured(trainer: TrainState, loss: Tensor) -> tuple[Tensor, float]:
    """The whole batch's loss and the gradient's norm; not finite where either is not."""
    if trainer.fabric.world_size > 1:
        loss = trainer.fabric.all_reduce(loss)  # type: ignore[assignment]
    norm = torch.nn.utils.get_total_norm([p.grad for p in trainer.parameters if p.grad is not None])
    return loss, float(norm + 0 * loss)  # the one wait for the device in a step


def _update(trainer: TrainState, norm: float, settings: TrainingSettings) -> None:
    """One step of the optimizer on clipped gradients, and of the running average."""
    state, parameters = trainer.state, trainer.parameters
    _clip(parameters, norm, settings.grad_clip_factor * state.norm)
    trainer.optimizer.step()
    decay = ema_decay_at(settings.ema_decay, state.step)
    torch._foreach_lerp_(  # pyright: ignore[reportPrivateImportUsage]
        trainer.average, [p.detach() for p in parameters], 1 - decay
    )
    kept = min(norm, 4 * state.norm)  # one wild step hardly moves the mean
    state.norm = norm if state.norm == 0 else 0.99 * state.norm + 0.01 * kept


def _clip(parameters: list[nn.Parameter], norm: float, most: float) -> None:
    """Scale gradients down to the norm `most` where theirs is above; 0 is no bound."""
    if 0 < most < norm:
        torch._foreach_mul_(  # pyright: ignore[reportPrivateImportUsage]
            [p.grad for p in parameters if p.grad is not None], most / norm
        )
