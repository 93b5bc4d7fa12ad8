"""What a training will be, before it is: parameters, FLOPs, speed, memory."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pinxit.console import format_duration
from pinxit.data.batch import Batch
from pinxit.data.images import Images
from pinxit.training.optimizers import build_optimizer
from pinxit.training.precision import matrix_rate
from pinxit.training.settings import TrainingSettings

if TYPE_CHECKING:
    from lightning_fabric import Fabric

TIMED = 8  # steps that are timed, after two that are not


@dataclass(frozen=True)
class Plan:
    """What `--dry-run` prints."""

    parameters: int
    flops: float  # an image, forward and backward, as PyTorch counts matrix products
    images_per_second: float  # timed on a few steps
    matrix_rate: float  # floating-point operations a second of one large product, same precision
    precision: str
    steps: int
    epochs: float
    seconds: float
    memory: int  # bytes: weights, gradients, optimizer, average, and what backward keeps

    @property
    def share(self) -> float:
        """Model FLOPs over the matrix rate."""
        return self.flops * self.images_per_second / self.matrix_rate

    def lines(self) -> list[tuple[str, str]]:
        """For a table: name and text."""
        return [
            ("parameters", f"{self.parameters:,}"),
            ("FLOPs per image", f"{self.flops / 1e6:,.1f} million, forward and backward"),
            ("expected speed", f"{self.images_per_second:,.0f} images/s"),
            (
                "of the matrix rate",
                f"{self.share:.0%} of {self.matrix_rate / 1e9:,.0f} GFLOP/s in {self.precision}",
            ),
            (
                "budget",
                f"{format_duration(self.seconds)}: {self.steps:,} steps, {self.epochs:,.1f} epochs",
            ),
            ("memory", f"{self.memory / 2**20:,.0f} MiB"),
        ]


def plan(model: Any, images: Images, settings: TrainingSettings, fabric: Fabric) -> Plan:
    """Measure a few real steps of a model with settled settings. Nothing is written."""
    assert settings.batch_size, "settled settings"
    rows, size = images.split_indices("train"), settings.batch_size
    parameters = sum(p.numel() for p in model.parameters())
    model, optimizer = fabric.setup(model, build_optimizer(model, settings))
    model.mark_forward_method("loss")
    batch = images.batch(rows[np.arange(size) % len(rows)]).to(fabric.device)
    flops, kept = _flops_and_memory(fabric, model, batch)
    optimizer.zero_grad()
    speed = size / _seconds_a_step(fabric, model, optimizer, batch)
    low = "bf16" in str(fabric._precision.precision)
    steps = settings.total_steps(len(rows), size) or 0
    steps = steps or max(1, round(speed * (settings.seconds or 0) / size))
    return Plan(
        parameters=parameters,
        flops=flops / size,
        images_per_second=speed,
        matrix_rate=matrix_rate(torch.bfloat16 if low else torch.float32, fabric.device.type),
        precision="bf16" if low else "fp32",
        steps=steps,
        epochs=steps * size / len(rows),
        seconds=settings.seconds or steps * size / speed,
        memory=5 * 4 * parameters + kept,
    )


def _flops_and_memory(fabric: Any, model: Any, batch: Batch) -> tuple[int, int]:
    """Of one forward and backward pass: operations, and bytes of what autograd keeps between."""
    from torch.utils.flop_counter import FlopCounterMode

    kept: dict[int, int] = {}  # a tensor that two operations keep is one

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with FlopCounterMode(display=False) as counter:
        hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
        with hooks, fabric.autocast():
            loss = model.loss(batch, 1.0).total
        fabric.backward(loss)
    for parameter in model.parameters():
        kept.pop(parameter.untyped_storage().data_ptr(), None)
    return counter.get_total_flops(), sum(kept.values())


def _seconds_a_step(fabric: Any, model: Any, optimizer: Any, batch: Batch) -> float:
    times = []
    for _ in range(TIMED + 2):
        start = time.perf_counter()
        with fabric.autocast():
            loss = model.loss(batch, 1.0).total
        fabric.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        if fabric.device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return sorted(times[2:])[TIMED // 2]
