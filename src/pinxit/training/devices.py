"""Devices, processes and precision, by Lightning Fabric.

With `devices` above 1 Fabric starts the same command once more for each; every process then takes
its share of each batch, and the first one writes. Over several machines `torchrun` starts them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from pinxit.errors import UsageError
from pinxit.training.precision import measure_precision
from pinxit.training.settings import Precision, TrainingSettings

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def set_up_fabric(settings: TrainingSettings) -> Fabric:
    """The device that there is, as many processes as were asked for, and the faster precision.

    Raises UsageError where there are fewer accelerators than asked for.
    """
    from lightning_fabric import Fabric

    tune_malloc()
    device = default_device()
    here = int(os.environ.get("LOCAL_WORLD_SIZE", settings.devices))  # set by torchrun
    if device == "cuda" and here > torch.cuda.device_count():
        raise UsageError(
            f"devices is {here}, but this machine has {torch.cuda.device_count()} accelerators."
        )
    machines = int(os.environ.get("WORLD_SIZE", here)) // here if _by_torchrun() else 1
    fabric = Fabric(
        accelerator=device,
        devices=here,
        num_nodes=machines,
        strategy="ddp" if here * machines > 1 else "auto",
        precision="bf16-mixed" if resolve_precision(settings) == "bf16" else "32-true",
    )
    if here * machines > 1:
        fabric.launch()
    return fabric


def tune_malloc() -> None:
    """Have glibc keep what a step frees for the next step, where it is glibc.

    It gives arrays of 32 MB and more back to the system as they are freed, and gets them again with
    a page fault for every 4 KB: 20,000 a step, a twentieth to a tenth of its time.
    """
    import ctypes

    mmap_max, trim_threshold = -4, -1  # malloc.h: M_MMAP_MAX, M_TRIM_THRESHOLD
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another libc: it has its own ways
        return
    mallopt(mmap_max, 0)
    mallopt(trim_threshold, 2**31 - 1)


def resolve_precision(
    settings: TrainingSettings, step: Callable[[bool], float] | None = None
) -> Precision:
    """`bf16` or `fp32`; where the settings leave it open, the one that is measured to be faster.

    `step(bf16)` is the seconds of the model's step, if there is a model."""
    if settings.precision != "auto":
        return settings.precision
    return measure_precision(default_device(), step)


def default_device() -> str:
    """`cuda`, `mps` (with one process) or `cpu`."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def leads() -> bool:
    """Whether this is the only process, or the first: the one that writes and tells."""
    together = torch.distributed.is_available() and torch.distributed.is_initialized()
    return not together or torch.distributed.get_rank() == 0


def _by_torchrun() -> bool:
    return "LOCAL_WORLD_SIZE" in os.environ
