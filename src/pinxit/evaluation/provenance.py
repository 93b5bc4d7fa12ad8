"""How an evaluation was run: date, machine and versions, to compare or repeat it."""

from __future__ import annotations

import datetime
import platform
from pathlib import Path
from typing import Any

import torch

from pinxit.extras import is_extra_installed
from pinxit.training.run_folder import versions

PACKAGES = ("pinxit", "torch", "numpy")
TEXT_PACKAGES = ("scikit-learn", "sacrebleu")  # of the extra `text`


def environment(device: torch.device) -> dict[str, Any]:
    """Return date, machine and versions of the packages that the metrics depend on."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": describe_machine(device),
        "versions": versions((*PACKAGES, *(TEXT_PACKAGES if is_extra_installed("text") else ()))),
    }


def describe_machine(device: torch.device) -> dict[str, Any]:
    """Return processor, number of torch threads, device, and the GPU if one is used."""
    machine = {"processor": _processor(), "threads": torch.get_num_threads(), "device": str(device)}
    if device.type == "cuda":
        machine["accelerator"] = torch.cuda.get_device_name(device)
    return machine


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
