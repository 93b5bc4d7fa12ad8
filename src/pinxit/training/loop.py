"""The training loop: a generator that yields what happened at each step.

Whoever iterates over it decides when to validate, save, draw or stop. The random numbers of a step
depend on (seed, step) only, so a checkpoint needs weights, optimizer and a few counters, but no
generator state.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from pinxit.console import echo
from pinxit.data.batch import Batch
from pinxit.data.images import Images
from pinxit.models.protocols import Model
from pinxit.models.results import Loss
from pinxit.nn.batch_share import BatchShare, share_batch
from pinxit.nn.rng import mix_seed
from pinxit.training.augmentation import augment_batch
from pinxit.training.compilation import compile_networks
from pinxit.training.encoding_cache import Drawn, EncodingCache, create_cache
from pinxit.training.optimizers import build_optimizer
from pinxit.training.schedule import batch_order, ema_decay_after, learning_rate
from pinxit.training.settings import TrainingSettings
from pinxit.training.sharding import average_undivided, is_sharded, locals_of, total_norm

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
    loss: Tensor  # of the whole batch
    parts: dict[str, Tensor]  # of this process: their sum over processes is that of the batch
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
    replica: nn.Module | None = None  # whole weights, where the module has parts only

    @property
    def is_sharded(self) -> bool:
        """Whether each process holds parts of the tensors."""
        return any(map(is_sharded, self.parameters))

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
    divided = settings.strategy == "fsdp" and fabric.world_size > 1
    if not divided:
        compile_networks(model, settings, fabric.device.type)
    elif settings.compile == "on" and fabric.is_global_zero:
        echo("not compiled: with --strategy fsdp the weights are divided")
    # whole weights, in the main process: images are generated from them while it trains
    replica = copy.deepcopy(model) if divided and fabric.is_global_zero else None
    wrapped: Any
    if divided:  # the optimizer needs the divided parameters
        wrapped = fabric.setup_module(model)
        optimizer = fabric.setup_optimizers(build_optimizer(wrapped.module, settings))
    else:
        wrapped, optimizer = fabric.setup(model, build_optimizer(model, settings))
    wrapped.mark_forward_method("loss")
    ema_params = [p.detach().clone() for p in wrapped.module.parameters()]
    return TrainState(fabric, wrapped, optimizer, ema_params, counters or Counters(), replica)


def load_batches(
    images: Images,
    rows: np.ndarray,
    state: TrainState,
    settings: TrainingSettings,
) -> Iterator[list[tuple[Batch, Drawn]]]:
    """Yield this process's parts of each batch; a thread gathers the next ones.

    Those of a stream are read from their shards. Raises PinxitError if a shard cannot be read.
    """
    batch_size = settings.batch_size or 1
    fabric = state.fabric
    total = images.count_training() if images.stream else len(rows)
    reader = images.stream.open_training(settings.seed) if images.stream else None
    order = _positions(batch_size, state.counters.step)
    in_memory = batch_order(total, batch_size, settings.seed, state.counters.step)
    count_parts = settings.accumulate * fabric.world_size

    def gather(positions: np.ndarray) -> list[tuple[Batch, Drawn]]:
        indices = next(in_memory) if reader is None else positions % total
        parts = []
        for index in range(fabric.global_rank, count_parts, fabric.world_size):
            part = slice(index, None, count_parts)
            drawn = Drawn(indices[part], positions[part] // total)
            batch = reader.read(positions[part]) if reader else images.batch(rows[indices[part]])
            parts.append((batch, drawn))
        return parts

    try:
        with ThreadPoolExecutor(1) as thread:
            pending = thread.submit(gather, next(order))
            while True:
                parts = pending.result()
                pending = thread.submit(gather, next(order))
                yield parts
    finally:
        if reader is not None:
            reader.close()


def _positions(batch_size: int, step: int) -> Iterator[np.ndarray]:
    """Yield the positions of each batch from a step on, counted from the first epoch on."""
    for number in count(step):
        yield number * batch_size + np.arange(batch_size)


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
    batches = load_batches(images, rows, state, settings)
    cache = create_cache(state.module, images, rows, settings, state.fabric.device)
    progress = measure_progress(counters)
    while progress < 1:
        lr = learning_rate(settings.learning_rate, counters.step, settings.warmup_steps, progress)
        _set_learning_rate(state, lr)
        loss = _compute_gradients(state, next(batches), cache, settings, progress)
        total, grad_norm = _loss_and_grad_norm(state, loss.total)
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


def _compute_gradients(
    state: TrainState,
    parts: list[tuple[Batch, Drawn]],
    cache: EncodingCache | None,
    settings: TrainingSettings,
    progress: float,
) -> Loss:
    """Add up the gradients of a batch's mean loss over its parts, and over processes.

    The loss is that of this process's parts: the sum over processes is that of the whole batch.
    """
    fabric, losses = state.fabric, []
    seed = mix_seed(settings.seed, state.counters.step)
    for number, (batch, drawn) in enumerate(parts):
        share = BatchShare(
            index=number * fabric.world_size + fabric.global_rank,
            count=len(parts) * fabric.world_size,
            size=settings.batch_size or len(batch),
            seed=seed,
            world_size=fabric.world_size,
            sum_over_processes=lambda tensor: sum_over_processes(fabric, tensor),
        )
        weight = len(batch) / share.size
        batch = batch.to(fabric.device)
        # dropout is of each part; other random numbers are drawn for the whole batch
        seed_generators(mix_seed(seed, share.index), batch)
        with share_batch(share), _synchronize(state, share.is_last):
            if cache is None:
                batch = augment_batch(batch, settings.augment_kinds_at(progress))
            else:
                batch = cache.encode(batch, drawn)
            with fabric.autocast():  # Fabric wraps `forward` in it, but not a marked method
                loss = state.model.loss(batch, progress)
            # gradients are averaged over processes
            fabric.backward(
                loss.total if share.count == 1 else loss.total * weight * fabric.world_size
            )
        losses.append(Loss(loss.total.detach() * weight, _scale(loss.parts, weight), loss.unit))
    return _add_losses(losses)


def _scale(parts: dict[str, Tensor], weight: float) -> dict[str, Tensor]:
    return {name: weight * value for name, value in parts.items()}


def _add_losses(losses: list[Loss]) -> Loss:
    first, *others = losses
    for other in others:
        parts = {name: value + other.parts[name] for name, value in first.parts.items()}
        first = Loss(first.total + other.total, parts, first.unit)
    return first


def _synchronize(state: TrainState, is_last: bool) -> AbstractContextManager[None]:
    """Let processes average their gradients in the backward pass of a batch's last part only."""
    if is_last:
        return nullcontext()
    return state.fabric.no_backward_sync(state.model)


def sum_over_processes(fabric: Fabric, tensor: Tensor) -> Tensor:
    """Return the sum of the processes' tensors."""
    if fabric.world_size == 1:
        return tensor
    return fabric.all_reduce(tensor, reduce_op="sum")  # type: ignore[return-value]


def sum_of_numbers(fabric: Fabric, numbers: list[float]) -> list[float]:
    """Return the sums of the processes' numbers."""
    if fabric.world_size == 1:
        return numbers
    dtype = torch.float32 if fabric.device.type == "mps" else torch.float64
    return sum_over_processes(
        fabric, torch.tensor(numbers, dtype=dtype, device=fabric.device)
    ).tolist()


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
    loss = sum_over_processes(state.fabric, loss)
    if state.is_sharded:
        average_undivided(state.parameters)
    norm = total_norm([p.grad for p in state.parameters if p.grad is not None])
    return loss, float(norm + 0 * loss)  # the only wait for the device in a step


def _optimizer_step(state: TrainState, grad_norm: float, settings: TrainingSettings) -> None:
    """Clip the gradients, update the parameters and their moving average."""
    counters, parameters = state.counters, state.parameters
    mean = counters.mean_grad_norm
    _clip(parameters, grad_norm, settings.grad_clip_factor * mean)
    state.optimizer.step()
    decay = ema_decay_after(settings.ema_decay, counters.step)
    if decay is not None:
        foreach._foreach_lerp_(locals_of(state.ema_params), locals_of(parameters), 1 - decay)
    bounded = min(grad_norm, MAX_NORM_RATIO * mean)  # an outlier hardly moves the mean
    counters.mean_grad_norm = 0.99 * mean + 0.01 * bounded if mean else grad_norm


def _clip(parameters: list[nn.Parameter], grad_norm: float, max_norm: float) -> None:
    """Scale the gradients to `max_norm` if their norm is larger; 0 means no bound."""
    if 0 < max_norm < grad_norm:
        gradients = locals_of(p.grad for p in parameters if p.grad is not None)
        foreach._foreach_mul_(gradients, max_norm / grad_norm)
