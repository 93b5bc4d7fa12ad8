"""Which precision a model's steps are faster in, measured once at the start."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Any, Literal

import torch

SIDE = 256  # bf16 without hardware for it runs at 1 GFLOP/s: keep the probe small
SLOWER = 4.0  # times as slow a product is where there is no such hardware, at the least


def seconds_of_product(
    side: int, dtype: torch.dtype, device: str = "cpu", repeats: int = 5, most: float = 1.0
) -> float:
    """The fastest of a few square matrix products, in seconds; none begins after `most` seconds."""
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    times: list[float] = []
    while len(times) < repeats and sum(times) < most:
        start = time.perf_counter()
        torch.matmul(a, b)
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times)


def matrix_rate(dtype: torch.dtype = torch.float32, device: str = "cpu") -> float:
    """Floating-point operations a second of one large product."""
    side = 8192 if device == "cuda" else 1024
    return 2 * side**3 / seconds_of_product(side, dtype, device)


def seconds_of_step(model: Any, batch: Any, bf16: bool, repeats: int = 3) -> float:
    """The fastest of a few passes forward and backward of a copy of a model, on a CPU."""
    model, times = copy.deepcopy(model).train(), []
    with torch.random.fork_rng(devices=[]):
        for _ in range(repeats):
            start = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                loss = model.loss(batch)
            loss.total.backward()
            times.append(time.perf_counter() - start)
    return min(times)


def measure_precision(
    device: str = "cpu", step: Callable[[bool], float] | None = None
) -> Literal["bf16", "fp32"]:
    """`bf16` or `fp32`: on a CUDA device by what it supports, on a CPU by measuring.

    `step(bf16)` is the seconds of a model's step. Products alone do not tell: where they are
    faster in bf16 a small model may be slower, for all that is cast and copied between them.
    """
    if device == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    if device != "cpu":
        return "fp32"
    measured = [seconds_of_product(SIDE, torch.bfloat16, repeats=2)]
    measured.append(seconds_of_product(SIDE, torch.float32))
    if measured[0] < SLOWER * measured[1] and step is not None:
        # in turns, twice: what else the machine does for a second must not decide
        turns = [(step(True), step(False)) for _ in range(2)]
        measured = [min(times) for times in zip(*turns, strict=True)]
    return "bf16" if measured[0] < measured[1] else "fp32"
