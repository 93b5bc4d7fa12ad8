"""The training loop: a generator that yields what happened at each step.

Whoever iterates over it decides when to validate, save, draw or stop. The random numbers of a step
depend on (seed, step) only, so a checkpoint needs weights, optimizer and a few counters, but no
generator state.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from pinxit.data.batch import Batch
from pinxit.data.images import Images
from pinxit.models.protocols import Model
from pinxit.nn.rng import mix_seed
from pinxit.training.augmentation import augment_batch
from pinxit.training.encoding_cache import Drawn, create_cache
from pinxit.training.optimizers import build_optimizer
from pinxit.training.schedule import batch_order, ema_decay_at, learning_rate
from pinxit.training.settings import TrainingSettings

if TYPE_CHECKING:
    from lightning_fabric import Fabric

foreach: Any = torch  # `torch._foreach_*` work on lists of tensors; torch's stubs leave them out

MAX_NORM_RATIO = 4.0  # bounds the ratio with which a gradient norm enters its running mean


@dataclass
class Counters:
    """Numbers that a checkpoint holds beside the tensors."""

    step: int = 0
    seconds: float = 0.0  # of training, over all sessions
    skipped: int = 0
    skipped_in_a_row: int = 0
    mean_grad_norm: float = 0.0  # running mean
    best_loss: float = math.inf  # lowest validation loss
    best_step: int = 0  # at which it was measured
    best_seconds: float = 0.0
    eval_step: int = 0  # of the last evaluation
    eval_seconds: float = 0.0

    def count_step(self, finite: bool) -> None:
        self.step += 1
        self.skipped += not finite
        self.skipped_in_a_row = 0 if finite else self.skipped_in_a_row + 1


@dataclass(frozen=True)
class StepResult:
    """Measurements of a step. `parts` stay tensors: reading them would wait for the device."""

    step: int  # counted from 1
    progress: float  # fraction of the budget spent after this step
    progress_before: float  # fraction before this step
    loss: Tensor  # of the whole batch; `parts` are of this process's share
    parts: dict[str, Tensor]
    unit: str
    learning_rate: float
    grad_norm: float
    skipped: bool

    def crosses(self, num_marks: int) -> bool:
        """Return whether the step crossed one of `num_marks` even marks over the budget."""
        return math.floor(self.progress * num_marks) > math.floor(self.progress_before * num_marks)


@dataclass
class TrainState:
    """State that a training step updates: model, optimizer, EMA parameters and counters."""

    fabric: Fabric
    model: Any  # wrapped by Fabric
    optimizer: Any
    ema_params: list[Tensor]  # exponential moving average, in the order of the parameters
    counters: Counters = field(default_factory=Counters)

    @property
    def module(self) -> nn.Module:
        return self.model.module

    @property
    def parameters(self) -> list[nn.Parameter]:
        return list(self.module.parameters())


def create_train_state(
    model: Model, settings: TrainingSettings, fabric: Fabric, counters: Counters | None = None
) -> TrainState:
    """Move the model to Fabric's device, and create its optimizer and parameter average."""
    assert isinstance(model, nn.Module)
    wrapped, optimizer = fabric.setup(model, build_optimizer(model, settings))
    wrapped.mark_forward_method("loss")
    ema_params = [p.detach().clone() for p in wrapped.module.parameters()]
    return TrainState(fabric, wrapped, optimizer, ema_params, counters or Counters())


def load_batches(
    images: Images, rows: np.ndarray, state: TrainState, batch_size: int, seed: int
) -> Iterator[tuple[Batch, Drawn]]:
    """Yield this process's share of each batch; a thread gathers the next one."""
    fabric = state.fabric
    order = batch_order(len(rows), batch_size, seed, state.counters.step)
    share = slice(fabric.global_rank, None, fabric.world_size)
    steps = count(state.counters.step)

    def gather(indices: np.ndarray) -> tuple[Batch, Drawn]:
        epochs = (next(steps) * batch_size + np.arange(batch_size)) // len(rows)
        drawn = Drawn(indices[share], epochs[share])
        return images.batch(rows[drawn.indices]), drawn

    with ThreadPoolExecutor(1) as thread:
        pending = thread.submit(gather, next(order))
        while True:
            batch, drawn = pending.result()
            pending = thread.submit(gather, next(order))
            yield batch.to(fabric.device), drawn


def train_steps(
    state: TrainState,
    images: Images,
    rows: np.ndarray,
    settings: TrainingSettings,
    measure_progress: Callable[[Counters], float],
) -> Iterator[StepResult]:
    """Train on these rows of the images until `measure_progress(counters)` reaches 1."""
    counters = state.counters
    assert settings.batch_size and settings.learning_rate, "resolved settings"
    batches = load_batches(images, rows, state, settings.batch_size, settings.seed)
    cache = create_cache(state.module, images, rows, settings, state.fabric.device)
    progress = measure_progress(counters)
    while progress < 1:
        batch, drawn = next(batches)
        seed = mix_seed(settings.seed, counters.step)
        seed_generators(mix_seed(seed, state.fabric.global_rank), batch)
        if cache is None:
            batch = augment_batch(batch, settings.augment_kinds)
        else:
            batch = cache.encode(batch, drawn)
        lr = learning_rate(settings.learning_rate, counters.step, settings.warmup_steps, progress)
        _set_learning_rate(state, lr)
        with state.fabric.autocast():  # Fabric wraps `forward` in it, but not a marked method
            loss = state.model.loss(batch, progress)
        state.fabric.backward(loss.total)
        total, grad_norm = _loss_and_grad_norm(state, loss.total.detach())
        finite = math.isfinite(grad_norm)
        if finite:
            _optimizer_step(state, grad_norm, settings)
        state.optimizer.zero_grad()
        counters.count_step(finite)
        progress_before, progress = progress, measure_progress(counters)
        yield StepResult(
            step=counters.step,
            progress=progress,
            progress_before=progress_before,
            loss=total,
            parts=loss.parts,
            unit=loss.unit,
            learning_rate=lr,
            grad_norm=grad_norm,
            skipped=not finite,
        )


def seed_generators(seed: int, batch: Batch) -> None:
    """Seed the generators that a model samples from on the batch's device.

    `torch.manual_seed` is slower: without a CUDA device it stores a stack trace at each call, for a
    later CUDA start, which takes 1 to 2 ms a step and memory that grows.
    """
    torch.default_generator.manual_seed(seed)
    if batch.pixels.is_cuda:
        torch.cuda.manual_seed(seed)
    elif batch.pixels.is_mps:
        torch.mps.manual_seed(seed)


def _set_learning_rate(state: TrainState, lr: float) -> None:
    for group in state.optimizer.param_groups:
        group["lr"] = lr * group.get("lr_ratio", 1.0)


def _loss_and_grad_norm(state: TrainState, loss: Tensor) -> tuple[Tensor, float]:
    """Return the loss of the whole batch, and the gradient norm; NaN or infinite if the loss is."""
    if state.fabric.world_size > 1:
        loss = state.fabric.all_reduce(loss)  # type: ignore[assignment]
    norm = torch.nn.utils.get_total_norm([p.grad for p in state.parameters if p.grad is not None])
    return loss, float(norm + 0 * loss)  # the only wait for the device in a step


def _optimizer_step(state: TrainState, grad_norm: float, settings: TrainingSettings) -> None:
    """Clip the gradients, update the parameters and their moving average."""
    counters, parameters = state.counters, state.parameters
    mean = counters.mean_grad_norm
    _clip(parameters, grad_norm, settings.grad_clip_factor * mean)
    state.optimizer.step()
    decay = ema_decay_at(settings.ema_decay, counters.step)
    foreach._foreach_lerp_(state.ema_params, [p.detach() for p in parameters], 1 - decay)
    bounded = min(grad_norm, MAX_NORM_RATIO * mean)  # an outlier hardly moves the mean
    counters.mean_grad_norm = 0.99 * mean + 0.01 * bounded if mean else grad_norm


def _clip(parameters: list[nn.Parameter], grad_norm: float, max_norm: float) -> None:
    """Scale the gradients to `max_norm` if their norm is larger; 0 means no bound."""
    if 0 < max_norm < grad_norm:
        gradients = [p.grad for p in parameters if p.grad is not None]
        foreach._foreach_mul_(gradients, max_norm / grad_norm)
