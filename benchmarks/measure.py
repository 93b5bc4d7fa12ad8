"""Clocks: of processes, of matrix products, of the training loop."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.tables import median
from pinxit.data.images import Images

PINXIT = (sys.executable, "-m", "pinxit.cli")


def seconds_of(command: Sequence[str], environment: Mapping[str, str] | None = None) -> float:
    """Wall-clock seconds of a process from its start to its end. Raises where it fails."""
    start = time.perf_counter()
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **(environment or {})}
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return seconds


def median_seconds(work: Callable[[], object], times: int) -> float:
    """The median over several calls, after one that is not counted."""
    work()
    found = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return median(found)


def machine() -> dict[str, Any]:
    """What the figures hold for."""
    import torch

    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0],
        "torch": torch.__version__,
        "python": platform.python_version(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def noise_images(count: int, height: int, width: int, channels: int = 1, seed: int = 0) -> Images:
    """Images of chance, half of them ink: for clocks, which do not see what is on an image."""
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (count, height, width, channels), np.uint8)
    return Images(np.where(pixels < 128, 0, pixels), splits=np.zeros(count, np.int8))


@dataclass(frozen=True)
class Speed:
    """Of the training loop."""

    images_per_second: float
    flops: float  # an image, forward and backward
    matmul_rate: float  # floating-point operations a second, same precision
    precision: str

    @property
    def share(self) -> float:
        """Model FLOPs over what the machine's matrix products reach."""
        return self.flops * self.images_per_second / self.matmul_rate


class Loop:
    """A model in pinxit's own training loop."""

    def __init__(self, model: Any, images: Images, **settings: Any) -> None:
        from pinxit.training.devices import set_up_fabric
        from pinxit.training.loop import create_train_state, train_steps
        from pinxit.training.settings import TrainingSettings, default_learning_rate

        parameters = sum(p.numel() for p in model.parameters())
        options = {"learning_rate": default_learning_rate(parameters), "batch_size": 256}
        self.settings = TrainingSettings(**{"steps": 1, **options, **settings})
        self.images, self.rows = images, images.split_indices("train")
        fabric = set_up_fabric(self.settings)
        self.state = create_train_state(model, self.settings, fabric)
        self.goal = 1.0
        # the learning rate's schedule is that of a budget of `goal` steps
        self.steps = train_steps(
            self.state, images, self.rows, self.settings, lambda s: s.step / (self.goal + 1)
        )

    @property
    def bf16(self) -> bool:
        return "bf16" in str(self.state.fabric._precision.precision)

    def train(self, steps: int, of: int | None = None) -> float:
        """So many steps, of a budget of `of`; their seconds."""
        import torch

        self.goal = of or self.goal + 10 * steps
        start = time.perf_counter()
        for _ in range(steps):
            next(self.steps)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter() - start

    def flops(self) -> float:
        """An image, forward and backward, as PyTorch counts matrix products and convolutions."""
        from torch.utils.flop_counter import FlopCounterMode

        size = self.settings.batch_size or 1
        batch = self.images.batch(self.rows[:size]).to(self.state.fabric.device)
        with FlopCounterMode(display=False) as counter:
            self.state.fabric.backward(self.state.model.loss(batch, 1.0).total)
        self.state.optimizer.zero_grad()
        return counter.get_total_flops() / size


def matmul_rate(bf16: bool = False) -> float:
    """Floating-point operations a second of one large matrix product, on what trains."""
    import torch

    dtype = torch.bfloat16 if bf16 else torch.float32
    if not torch.cuda.is_available():
        from pinxit.training.precision import matmul_rate as on_cpu

        return on_cpu(dtype)
    side = 8192
    a, b = (torch.randn(side, side, device="cuda", dtype=dtype) for _ in range(2))

    def product() -> None:
        torch.matmul(a, b)
        torch.cuda.synchronize()

    return 2 * side**3 / median_seconds(product, 5)


def training_speed(loop: Loop, seconds: float, rounds: int) -> Speed:
    """The loop and the matrix product, alternately; medians."""
    loop.train(3)
    steps = max(2, round(seconds * 3 / max(1e-3, loop.train(3))))
    taken, rates = [], []
    for _ in range(rounds):
        rates.append(matmul_rate(loop.bf16))
        taken.append(loop.train(steps))
    size = loop.settings.batch_size or 1
    name = "bf16" if loop.bf16 else "fp32"
    return Speed(steps * size / median(taken), loop.flops(), median(rates), name)
