"""Which precision matrix products are faster in, measured once at the start."""

from __future__ import annotations

import time
from typing import Literal

import torch

SIDE = 256  # bf16 without hardware for it runs at 1 GFLOP/s: keep the probe small


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


def faster_precision(device: str = "cpu") -> Literal["bf16", "fp32"]:
    """`bf16` or `fp32`: on a CUDA device by what it supports, on a CPU by one measurement."""
    if device == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    if device != "cpu":
        return "fp32"
    bf16 = seconds_of_product(SIDE, torch.bfloat16, repeats=2)
    return "bf16" if bf16 < seconds_of_product(SIDE, torch.float32) else "fp32"
