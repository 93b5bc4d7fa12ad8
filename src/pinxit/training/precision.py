"""Choose bf16 or fp32 by measuring which is faster for a model's training step."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Any, Literal

import torch

from pinxit.data.batch import Batch
from pinxit.models.protocols import Model

PROBE_SIDE = 256  # rows of the measured matrices: emulated bf16 reaches 1 GFLOP/s only
RATE_SIDE = {"cuda": 8192}  # rows of the matrices for `measure_matmul_rate`
NO_BF16_RATIO = 4.0  # products slower than fp32 by this factor: the CPU emulates bf16


def time_matmul(
    side: int,
    dtype: torch.dtype,
    device: str = "cpu",
    repeats: int = 5,
    max_seconds: float = 1.0,
) -> float:
    """Return the seconds of the fastest of `repeats` square matrix products.

    None starts after `max_seconds`.
    """
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    times: list[float] = []
    while len(times) < repeats and sum(times) < max_seconds:
        start = time.perf_counter()
        torch.matmul(a, b)
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times)


def measure_matmul_rate(dtype: torch.dtype = torch.float32, device: str = "cpu") -> float:
    """Return the FLOP/s of one large matrix product."""
    side = RATE_SIDE.get(device, 1024)
    return 2 * side**3 / time_matmul(side, dtype, device)


def time_step(model: Model, batch: Batch, bf16: bool, repeats: int = 3) -> float:
    """Return the seconds of the fastest of a few forward and backward passes on a CPU.

    They run on a copy of the model and leave the random state unchanged.
    """
    probe: Any = copy.deepcopy(model)
    probe.train()
    times = []
    with torch.random.fork_rng(devices=[]):
        for _ in range(repeats):
            start = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                loss = probe.loss(batch)
            loss.total.backward()
            times.append(time.perf_counter() - start)
    return min(times)


def measure_precision(
    device: str = "cpu", time_step: Callable[[bool], float] | None = None
) -> Literal["bf16", "fp32"]:
    """Return `bf16` or `fp32`: on CUDA bf16 if it is supported, on a CPU the faster one.

    `time_step(bf16)` returns the seconds of the model's step. Matrix products alone do not decide:
    even if they are faster in bf16, a small model may be slower because of the casts between them.
    """
    if device == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    if device != "cpu":
        return "fp32"
    bf16 = time_matmul(PROBE_SIDE, torch.bfloat16, repeats=2)
    fp32 = time_matmul(PROBE_SIDE, torch.float32)
    if bf16 < NO_BF16_RATIO * fp32 and time_step is not None:
        # alternately and twice, so that a moment's load on the machine does not decide
        pairs = [(time_step(True), time_step(False)) for _ in range(2)]
        bf16, fp32 = (min(times) for times in zip(*pairs, strict=True))
    return "bf16" if bf16 < fp32 else "fp32"
