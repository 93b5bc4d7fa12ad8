"""What a training will be, before it is: parameters, FLOPs, speed, memory."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch

from pinxit.data.pictures import Pictures
from pinxit.training.loop import adamw
from pinxit.training.precision import matrix_rate
from pinxit.training.progress import duration
from pinxit.training.session import set_up_fabric
from pinxit.training.settings import Settings

TIMED = 8  # steps that are timed, after two that are not


@dataclass(frozen=True)
class Plan:
    """What `--dry-run` prints."""

    parameters: int
    flops: float  # a picture, forward and backward, as PyTorch counts matrix products
    pictures_per_second: float  # timed on a few steps
    matrix_rate: float  # floating-point operations a second of one large product, same precision
    precision: str
    steps: int
    epochs: float
    seconds: float
    memory: int  # bytes: weights, gradients, optimizer, average, and a batch of activations

    @property
    def share(self) -> float:
        """Model FLOPs over the matrix rate."""
        return self.flops * self.pictures_per_second / self.matrix_rate

    def lines(self) -> list[tuple[str, str]]:
        """For a table: name and text."""
        return [
            ("parameters", f"{self.parameters:,}"),
            ("FLOPs per picture", f"{self.flops / 1e6:,.1f} million, forward and backward"),
            ("expected speed", f"{self.pictures_per_second:,.0f} pictures/s"),
            (
                "of the matrix rate",
                f"{self.share:.0%} of {self.matrix_rate / 1e9:,.0f} GFLOP/s in {self.precision}",
            ),
            (
                "budget",
                f"{duration(self.seconds)}: {self.steps:,} steps, {self.epochs:,.1f} epochs",
            ),
            ("memory", f"{self.memory / 2**20:,.0f} MiB"),
        ]


def plan(model: Any, pictures: Pictures, settings: Settings) -> Plan:
    """Measure a few real steps of a model with settled settings. Nothing is written."""
    from torch.utils.flop_counter import FlopCounterMode

    assert settings.batch_size, "settled settings"
    rows = pictures.rows_of("train")
    batch = pictures.batch(rows[torch.arange(settings.batch_size).numpy() % len(rows)])
    counter = FlopCounterMode(display=False)
    with counter:
        model.loss(batch, 1.0).total.backward()
    parameters = sum(p.numel() for p in model.parameters())
    fabric = set_up_fabric(settings)
    model, optimizer = fabric.setup(model, adamw(model, settings))
    model.mark_forward_method("loss")
    batch = batch.to(fabric.device)
    speed = settings.batch_size / _seconds_a_step(fabric, model, optimizer, batch)
    low = "bf16" in str(fabric._precision.precision)
    total = settings.total_steps(len(rows), settings.batch_size)
    seconds = settings.seconds
    steps = total or max(1, round(speed * (seconds or 0) / settings.batch_size))
    return Plan(
        parameters=parameters,
        flops=counter.get_total_flops() / settings.batch_size,
        pictures_per_second=speed,
        matrix_rate=matrix_rate(torch.bfloat16 if low else torch.float32),
        precision="bf16" if low else "fp32",
        steps=steps,
        epochs=steps * settings.batch_size / len(rows),
        seconds=seconds or steps * settings.batch_size / speed,
        memory=20 * parameters + 4 * pictures.pixels[0].size * settings.batch_size * 40,
    )


def _seconds_a_step(fabric: Any, model: Any, optimizer: Any, batch: Any) -> float:
    times = []
    for _ in range(TIMED + 2):
        start = time.perf_counter()
        fabric.backward(model.loss(batch, 1.0).total)
        optimizer.step()
        optimizer.zero_grad()
        times.append(time.perf_counter() - start)
    return sorted(times[2:])[TIMED // 2]
