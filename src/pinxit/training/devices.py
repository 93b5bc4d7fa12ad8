"""Devices, strategies and precision, with Lightning Fabric.

With several processes every one computes its share of each batch, and the first one writes.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.strategies.strategy import Strategy

from pinxit.training.accelerators import check_accelerators, silence_lightning, training_device
from pinxit.training.precision import measure_precision
from pinxit.training.processes import Processes, current_processes, join_processes
from pinxit.training.settings import Precision, TrainingSettings


def set_up_fabric(settings: TrainingSettings) -> Fabric:
    """Set up Fabric with the device, the processes and the precision of the settings.

    Raises UsageError if the machine lacks the device, or has fewer accelerators than processes.
    """
    tune_malloc()
    silence_lightning()
    processes = join_processes(settings)
    device = training_device(settings)
    check_accelerators(device, processes.local_world_size)
    several = processes.world_size > 1
    fabric = Fabric(
        accelerator=device,
        devices=processes.local_world_size,
        num_nodes=processes.num_nodes,
        strategy=_build_strategy(settings, processes) if several else "auto",
        precision="bf16-mixed" if resolve_precision(settings) == "bf16" else "32-true",
        plugins=[TorchElasticEnvironment()] if several else None,
    )
    if several:
        fabric.launch()
    return fabric


def _build_strategy(settings: TrainingSettings, processes: Processes) -> Strategy:
    if settings.strategy == "ddp":
        # buffers are the same in all processes: models change them by what all have computed
        return DDPStrategy(broadcast_buffers=False, gradient_as_bucket_view=True)
    from lightning_fabric.strategies.model_parallel import ModelParallelStrategy

    from pinxit.training.sharding import shard_model

    size = processes.world_size
    return ModelParallelStrategy(shard_model, data_parallel_size=size, tensor_parallel_size=1)


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

    `time_step(bf16)` returns the seconds of a training step of the model, if there is one. Of
    several processes the main one measures, for all.
    """
    if settings.precision != "auto":
        return settings.precision
    processes = current_processes()
    measured: Precision = "fp32"
    if processes.is_global_zero:
        measured = measure_precision(training_device(settings), time_step)
    return processes.broadcast(measured)


def is_main_process() -> bool:
    """Return whether this is the main process (rank 0), which writes the files."""
    several = torch.distributed.is_available() and torch.distributed.is_initialized()
    return not several or torch.distributed.get_rank() == 0
