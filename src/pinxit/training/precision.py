"""Which precision matrix products are faster in, measured once at the start."""

from __future__ import annotations

import time

import torch

SIDE = 256  # bf16 without hardware for it runs at 1 GFLOP/s: keep the probe small


def seconds_of_product(side: int, dtype: torch.dtype, repeats: int = 5) -> float:
    """The fastest of a few square matrix products, in seconds."""
    a, b = torch.randn(side, side).to(dtype), torch.randn(side, side).to(dtype)
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        torch.matmul(a, b)
        times.append(time.perf_counter() - start)
    return min(times)


def matrix_rate(dtype: torch.dtype = torch.float32, side: int = 1024) -> float:
    """Floating-point operations a second of a large product on this CPU."""
    return 2 * side**3 / seconds_of_product(side, dtype)


def faster_precision(device: str = "cpu") -> str:
    """`bf16` or `fp32`: on a CUDA device by what it supports, on a CPU by one measurement."""
    if device == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    if device != "cpu":
        return "fp32"
    bf16 = seconds_of_product(SIDE, torch.bfloat16, repeats=2)
    return "bf16" if bf16 < seconds_of_product(SIDE, torch.float32) else "fp32"
