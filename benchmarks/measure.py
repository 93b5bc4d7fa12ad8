"""Time processes, matrix products and the training loop."""

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
    """Return the wall-clock seconds of a process. Raises RuntimeError if it fails."""
    start = time.perf_counter()
    process = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **(environment or {})}
    )
    seconds = time.perf_counter() - start
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{process.stderr[-2000:]}")
    return seconds


def median_seconds(work: Callable[[], object], times: int) -> float:
    """Return the median seconds of several calls, after a warmup call."""
    work()
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return median(seconds)


def machine() -> dict[str, Any]:
    """Describe the machine that the measurements were made on."""
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
    """Random images for timing, with half of the pixels black."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (count, height, width, channels), np.uint8)
    return Images(np.where(pixels < 128, 0, pixels), splits=np.zeros(count, np.int8))


@dataclass(frozen=True)
class Speed:
    """Speed of the training loop."""

    images_per_second: float
    flops: float  # per image, forward and backward
    matmul_rate: float  # FLOP/s of a large matrix product in the same precision
    precision: str

    @property
    def share(self) -> float:
        """The model's FLOP/s as a fraction of `matmul_rate`."""
        return self.flops * self.images_per_second / self.matmul_rate


class Loop:
    """A model in pinxit's training loop."""

    def __init__(self, model: Any, images: Images, **settings: Any) -> None:
        from pinxit.training.devices import set_up_fabric
        from pinxit.training.loop import create_train_state, train_steps
        from pinxit.training.settings import TrainingSettings, default_learning_rate

        num_parameters = sum(p.numel() for p in model.parameters())
        options = {"learning_rate": default_learning_rate(num_parameters), "batch_size": 256}
        self.settings = TrainingSettings(**{"steps": 1, **options, **settings})
        self.images, self.rows = images, images.split_indices("train")
        fabric = set_up_fabric(self.settings)
        self.state = create_train_state(model, self.settings, fabric)
        self.total_steps = 1.0  # the budget, which the learning rate follows
        self.steps = train_steps(
            self.state, images, self.rows, self.settings, lambda s: s.step / (self.total_steps + 1)
        )

    @property
    def bf16(self) -> bool:
        return "bf16" in str(self.state.fabric._precision.precision)

    def train(self, steps: int, of: int | None = None) -> float:
        """Train `steps` steps of a budget of `of`, and return their seconds."""
        import torch

        self.total_steps = of or self.total_steps + 10 * steps
        start = time.perf_counter()
        for _ in range(steps):
            next(self.steps)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter() - start

    def flops(self) -> float:
        """Return the FLOPs per image, forward and backward, as PyTorch counts them."""
        from torch.utils.flop_counter import FlopCounterMode

        batch_size = self.settings.batch_size or 1
        batch = self.images.batch(self.rows[:batch_size]).to(self.state.fabric.device)
        with FlopCounterMode(display=False) as counter:
            self.state.fabric.backward(self.state.model.loss(batch, 1.0).total)
        self.state.optimizer.zero_grad()
        return counter.get_total_flops() / batch_size


def matmul_rate(bf16: bool = False) -> float:
    """Return the FLOP/s of one large matrix product on the device that trains."""
    import torch

    from pinxit.training import precision

    dtype = torch.bfloat16 if bf16 else torch.float32
    return precision.measure_matmul_rate(dtype, "cuda" if torch.cuda.is_available() else "cpu")


def training_speed(loop: Loop, seconds: float, rounds: int) -> Speed:
    """Time the loop and the matrix product alternately, and return the medians."""
    loop.train(3)
    steps = max(2, round(seconds * 3 / max(1e-3, loop.train(3))))
    times, rates = [], []
    for _ in range(rounds):
        rates.append(matmul_rate(loop.bf16))
        times.append(loop.train(steps))
    batch_size = loop.settings.batch_size or 1
    precision = "bf16" if loop.bf16 else "fp32"
    return Speed(steps * batch_size / median(times), loop.flops(), median(rates), precision)
