"""Estimate the cost of a training run on a few steps: parameters, FLOPs, speed and memory."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from pinxit.console import format_duration
from pinxit.data.batch import Batch
from pinxit.training.devices import resolve_precision
from pinxit.training.loop import TrainState, create_train_state
from pinxit.training.precision import measure_matmul_rate
from pinxit.training.prepare import TrainingPlan
from pinxit.training.settings import BUDGETS

if TYPE_CHECKING:
    from lightning_fabric import Fabric

NUM_WARMUP_STEPS = 2  # that are not timed
NUM_TIMED_STEPS = 8
TENSORS_PER_PARAMETER = 5  # weight, gradient, two moments of AdamW, moving average


@dataclass(frozen=True)
class CostEstimate:
    """The cost of a training run, and the plan that it was measured for."""

    plan: TrainingPlan
    num_parameters: int
    flops_per_image: float  # forward and backward, as PyTorch counts matrix products
    images_per_second: float  # timed on a few steps
    matmul_rate: float  # FLOP/s of one large matrix product in the same precision
    precision: str
    steps: int
    epochs: float
    seconds: float
    memory_bytes: int  # weights, gradients, optimizer, average, and what backward needs
    first_stage: CostEstimate | None = None  # of the model that is trained before this one

    @property
    def utilization(self) -> float:
        """The model's FLOP/s as a fraction of `matmul_rate`."""
        return self.flops_per_image * self.images_per_second / self.matmul_rate

    def options(self) -> dict[str, Any]:
        """Return all options by name, for display; the budget is that of both stages."""
        options = self.plan.options()
        if self.first_stage is not None:
            for name in BUDGETS:
                values = (options[name], self.first_stage.plan.options()[name])
                options[name] = None if None in values else sum(values)
        return options

    def rows(self) -> list[tuple[str, str]]:
        """Names and formatted values, for a table."""
        return [
            *self._first_stage_rows(),
            ("parameters", f"{self.num_parameters:,}"),
            ("FLOPs per image", f"{self.flops_per_image / 1e6:,.1f} million, forward and backward"),
            ("expected speed", f"{self.images_per_second:,.0f} images/s"),
            (
                "utilization",
                f"{self.utilization:.0%} of {self.matmul_rate / 1e9:,.0f} GFLOP/s, the rate of "
                f"{self.precision} matrix products",
            ),
            (
                "budget",
                f"{format_duration(self.seconds)}: {self.steps:,} steps, {self.epochs:,.1f} epochs",
            ),
            ("memory", f"{self.memory_bytes / 2**20:,.0f} MiB"),
        ]

    def _first_stage_rows(self) -> list[tuple[str, str]]:
        first = self.first_stage
        if first is None:
            return []
        time = (
            f"{format_duration(first.seconds)}: {first.steps:,} steps, {first.epochs:,.1f} epochs"
        )
        return [("trained first", f"{first.plan.family}, {time}")]


def estimate_cost(plan: TrainingPlan, fabric: Fabric) -> CostEstimate:
    """Time a few training steps of the plan's model, which they change. Writes nothing."""
    # networks are not compiled for so few steps
    settings, images = dataclasses.replace(plan.settings, compile="off"), plan.images
    assert settings.batch_size, "resolved settings"
    rows, batch_size = images.split_indices("train"), settings.batch_size
    num_parameters = plan.num_parameters
    state = create_train_state(plan.model, settings, fabric)
    # the part of a batch that a process computes at once
    part_size = -(-batch_size // (fabric.world_size * settings.accumulate))
    batch = images.batch(rows[np.arange(part_size) % len(rows)]).to(fabric.device)
    flops, saved_bytes = _count_flops_and_memory(state, batch)
    state.optimizer.zero_grad()
    speed = fabric.world_size * part_size / _time_step(state, batch)
    precision = resolve_precision(settings)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    num_images = images.count_training()
    steps = settings.total_steps(num_images, batch_size) or 0
    steps = steps or max(1, round(speed * (settings.seconds or 0) / batch_size))
    return CostEstimate(
        plan=plan,
        num_parameters=num_parameters,
        flops_per_image=flops / part_size,
        images_per_second=speed,
        matmul_rate=measure_matmul_rate(dtype, fabric.device.type),
        precision=precision,
        steps=steps,
        epochs=steps * batch_size / num_images,
        seconds=settings.seconds or steps * batch_size / speed,
        memory_bytes=TENSORS_PER_PARAMETER * 4 * num_parameters + saved_bytes,
    )


def _count_flops_and_memory(state: TrainState, batch: Batch) -> tuple[int, int]:
    """Count the FLOPs of a forward and backward pass, and the bytes saved between them."""
    saved: dict[int, int] = {}  # by storage: two operations may save the same tensor

    def save(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with FlopCounterMode(display=False) as counter:
        hooks = torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor)
        with hooks, state.fabric.autocast():
            loss = state.model.loss(batch, 1.0).total
        state.fabric.backward(loss)
    for parameter in state.parameters:
        saved.pop(parameter.untyped_storage().data_ptr(), None)
    return counter.get_total_flops(), sum(saved.values())


def _time_step(state: TrainState, batch: Batch) -> float:
    """Return the median seconds of a training step."""
    times = [_run_step(state, batch) for _ in range(NUM_WARMUP_STEPS + NUM_TIMED_STEPS)]
    return sorted(times[NUM_WARMUP_STEPS:])[NUM_TIMED_STEPS // 2]


def _run_step(state: TrainState, batch: Batch) -> float:
    """Train one step, and return its seconds."""
    start = time.perf_counter()
    with state.fabric.autocast():
        loss = state.model.loss(batch, 1.0).total
    state.fabric.backward(loss)
    state.optimizer.step()
    state.optimizer.zero_grad()
    if state.fabric.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start
