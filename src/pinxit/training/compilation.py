"""Networks compiled with torch.compile, while their model trains.

A step of a small model is a thousand kernels of a few microseconds each, and Python takes longer to
launch one than a GPU to run it. On a GPU compiled networks are CUDA graphs too: launched at once.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from pinxit.console import echo
from pinxit.training.settings import TrainingSettings

COMPILERS = ("c++", "g++", "clang++", "cl")
MIN_SECONDS, MIN_STEPS = 90.0, 2_000  # of a budget for which compiling pays, on a GPU


def compile_networks(model: nn.Module, settings: TrainingSettings, device: str) -> int:
    """Compile the networks that the settings ask for, in place, and return how many they are.

    A network has an attribute `compile_unit`, which is `auto` or `on`. Names of parameters do not
    change. Prints a line if `on` has nothing to compile, or nothing to compile it with.
    """
    is_on = settings.compile == "on" or (settings.compile == "auto" and pays(settings, device))
    if not is_on:
        return 0
    units = ("auto", "on") if settings.compile == "on" else ("auto",)
    networks = list(_list_networks(model, units))
    lacking = missing_compiler(device) if networks else "this model has no network for it"
    if lacking is not None:
        if networks or settings.compile == "on":
            echo(f"not compiled: {lacking}")
        return 0
    for network in networks:
        network.compile(mode="reduce-overhead" if device == "cuda" else "default")
    return len(networks)


def pays(settings: TrainingSettings, device: str) -> bool:
    """Return whether compiling on one GPU takes less time than it saves."""
    processes = settings.devices * settings.nodes
    if device != "cuda" or processes > 1 or settings.accumulate > 1:
        return False
    if settings.seconds is not None:
        return settings.seconds >= MIN_SECONDS
    return (settings.steps or 0) >= MIN_STEPS


def missing_compiler(device: str) -> str | None:
    """Return what torch.compile lacks on this machine to compile for a device, or None."""
    if device == "cuda" and importlib.util.find_spec("triton") is None:
        return "Triton is not installed"
    names = (os.environ["CXX"],) if os.environ.get("CXX") else COMPILERS
    if not any(shutil.which(name) for name in names):
        return "there is no C++ compiler"
    return None


def _list_networks(module: nn.Module, units: tuple[str, ...]) -> Iterator[nn.Module]:
    """Yield the outermost networks to compile; those of a frozen model are left out."""
    for child in module.children():
        if getattr(child, "compile_unit", None) in units:
            if any(True for _ in child.parameters()):
                yield child
        else:
            yield from _list_networks(child, units)


@contextmanager
def plain_networks(module: nn.Module) -> Iterator[None]:
    """Run networks as they are: compiled ones would be compiled again for every size of batch."""
    compiled = {part: part._compiled_call_impl for part in module.modules()}
    for part in compiled:
        part._compiled_call_impl = None
    try:
        yield
    finally:
        for part, call in compiled.items():
            part._compiled_call_impl = call
