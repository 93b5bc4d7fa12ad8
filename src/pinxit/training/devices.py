"""Devices, processes and precision, with Lightning Fabric.

With `devices` above 1 Fabric starts the same command again for each further process; every process
computes its share of each batch, and the first one writes. `torchrun` starts them on several
machines.
"""

from __future__ import annotations

import ctypes
import logging
import os
import warnings
from collections.abc import Callable

import torch
from lightning_fabric import Fabric

from pinxit.errors import UsageError
from pinxit.nn.device import resolve_device
from pinxit.training.precision import measure_precision
from pinxit.training.settings import Precision, TrainingSettings


def set_up_fabric(settings: TrainingSettings) -> Fabric:
    """Set up Fabric with the device, the processes and the precision of the settings.

    Raises UsageError if the machine lacks the device, or has fewer accelerators than `devices`.
    """
    tune_malloc()
    silence_lightning()
    device = training_device(settings)
    local = int(os.environ.get("LOCAL_WORLD_SIZE", settings.devices))  # set by torchrun
    if device == "cuda" and local > torch.cuda.device_count():
        raise UsageError(
            f"devices is {local}, but this machine has {torch.cuda.device_count()} accelerators."
        )
    num_nodes = int(os.environ.get("WORLD_SIZE", local)) // local if _uses_torchrun() else 1
    several = local * num_nodes > 1
    fabric = Fabric(
        accelerator=device,
        devices=local,
        num_nodes=num_nodes,
        strategy="ddp" if several else "auto",
        precision="bf16-mixed" if resolve_precision(settings) == "bf16" else "32-true",
    )
    if several:
        fabric.launch()
    return fabric


def silence_lightning() -> None:
    """Hide Lightning's own messages, such as "Using bfloat16 Automatic Mixed Precision (AMP)"."""
    logging.getLogger("lightning_fabric").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"lightning_fabric(\.|$)")


def tune_malloc() -> None:
    """Let glibc keep the memory that a step frees for the next step.

    By default glibc returns blocks of 32 MB and more to the system when they are freed, and gets
    them again with a page fault for every 4 KB: 20,000 a step, 5 to 10 % of its time.
    """
    mmap_max, trim_threshold = -4, -1  # M_MMAP_MAX and M_TRIM_THRESHOLD of malloc.h
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # not glibc
        return
    mallopt(mmap_max, 0)
    mallopt(trim_threshold, 2**31 - 1)


def resolve_precision(
    settings: TrainingSettings, time_step: Callable[[bool], float] | None = None
) -> Precision:
    """Return `bf16` or `fp32`; for precision `auto` the faster one by measurement.

    `time_step(bf16)` returns the seconds of a training step of the model, if there is one.
    """
    if settings.precision != "auto":
        return settings.precision
    return measure_precision(training_device(settings), time_step)


def training_device(settings: TrainingSettings) -> str:
    """Return `cuda`, `mps` or `cpu`; mps works in one process only."""
    return resolve_device(settings.device, allow_mps=True)


def is_main_process() -> bool:
    """Return whether this is the main process (rank 0), which writes the files."""
    several = torch.distributed.is_available() and torch.distributed.is_initialized()
    return not several or torch.distributed.get_rank() == 0


def _uses_torchrun() -> bool:
    return "LOCAL_WORLD_SIZE" in os.environ
