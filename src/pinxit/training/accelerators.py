"""The accelerators and cores of this machine, and Fabric's launcher for scripts.

Imports torch and Fabric in functions: the launcher of the command line needs neither.
"""

from __future__ import annotations

import logging
import os
import warnings
from typing import TYPE_CHECKING

from pinxit.console import pluralize
from pinxit.errors import UsageError
from pinxit.nn.device import resolve_device
from pinxit.training.settings import TrainingSettings

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def training_device(settings: TrainingSettings) -> str:
    """Return `cuda`, `mps` or `cpu`; mps works in one process only."""
    return resolve_device(settings.device, allow_mps=True)


def check_accelerators(device: str, num_processes: int) -> None:
    """Raise UsageError if the machine has fewer accelerators than processes."""
    import torch

    if device == "cuda" and num_processes > torch.cuda.device_count():
        count = pluralize(torch.cuda.device_count(), "accelerator")
        raise UsageError(f"devices is {num_processes}, but this machine has {count}.")
    if device == "mps" and num_processes > 1:
        raise UsageError("device mps trains in one process; leave out --devices.")


def check_cores(device: str, num_processes: int) -> None:
    """Raise UsageError for more processes than a machine without accelerators has cores.

    A run's config.json may come from another machine: it must not start any number of processes.
    """
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    if num_processes <= max(2, cores):
        return
    if device != "cpu":  # torch is imported only to refuse, or for very many accelerators
        device = resolve_device(device, allow_mps=True)  # type: ignore[arg-type]
    if device == "cpu":
        raise UsageError(
            f"devices is {num_processes}, but this machine has {cores} cores; "
            f"give at most --devices {max(2, cores)}."
        )


def silence_lightning() -> None:
    """Hide Lightning's own messages, such as "Using bfloat16 Automatic Mixed Precision (AMP)"."""
    logging.getLogger("lightning_fabric").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"lightning_fabric(\.|$)")
    warnings.filterwarnings("ignore", "Grad strides do not match")  # of DDP: no error
    # nothing is added in place to what a unit returns
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor")


def create_launcher(settings: TrainingSettings) -> Fabric:
    """Return the Fabric that starts the running script again for each further process."""
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment

    silence_lightning()
    device = training_device(settings)
    check_accelerators(device, settings.devices)
    check_cores(device, settings.devices)
    return Fabric(
        accelerator=device,
        devices=settings.devices,
        num_nodes=settings.nodes,
        strategy="ddp",
        plugins=[LightningEnvironment()],
    )
