"""Choose where to compute. torch is imported only when a device is resolved: `--help` is fast."""

from __future__ import annotations

from typing import Literal

from pinxit.errors import UsageError

Device = Literal["auto", "cpu", "cuda", "mps"]


def resolve_device(device: str = "auto", allow_mps: bool = False) -> str:
    """Return the device; `auto` is cuda if there is a GPU, or else cpu.

    With `allow_mps`, `auto` prefers mps to cpu. Evaluation does not: mps has no float64. Raises
    UsageError for a device that this machine does not have.
    """
    import torch

    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        preferred = ("cuda", "mps") if allow_mps else ("cuda",)
        return next((name for name in preferred if available[name]), "cpu")
    if not available.get(device, True):
        raise UsageError(f"device {device}: PyTorch finds no such device on this machine.")
    return device
