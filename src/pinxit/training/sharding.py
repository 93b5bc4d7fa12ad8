"""Fully sharded training (FSDP, Zhao 2023): each process holds a part of every parameter.

Parameters, gradients, moments and moving averages are DTensors that are divided by their first
dimension. What works element by element works on the local parts; whole tensors are gathered where
they are needed: to orthogonalize, to save, to generate images.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

FORWARD_METHODS = ("loss", "forward_from")  # that are called in place of `forward`


def is_sharded(tensor: Tensor) -> bool:
    return hasattr(tensor, "to_local")


def local(tensor: Tensor) -> Tensor:
    """Return the part of a tensor that this process holds, sharing its memory."""
    detached: Any = tensor.detach()
    return detached.to_local() if is_sharded(detached) else detached


def locals_of(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Return the parts that this process holds; the empty ones of small tensors are left out."""
    return [part for part in map(local, tensors) if part.numel()]


def gather_full(tensor: Tensor) -> Tensor:
    """Return the whole tensor. All processes have to call it if it is sharded."""
    detached: Any = tensor.detach()
    return detached.full_tensor() if is_sharded(detached) else detached


def part_of(full: Tensor, like: Tensor) -> Tensor:
    """Return the part of a whole tensor that this process holds of `like`."""
    return full[rows_of(like)] if is_sharded(like) else full


def rows_of(tensor: Tensor) -> slice:
    """Return the rows of a sharded tensor that this process holds."""
    sharded: Any = tensor
    mesh = sharded.device_mesh
    size = -(-len(tensor) // mesh.size())  # rows of each process; the last ones may have fewer
    start = min(mesh.get_local_rank() * size, len(tensor))
    return slice(start, min(start + size, len(tensor)))


def shard_model(module: nn.Module, mesh: Any) -> nn.Module:
    """Divide the parameters among the processes, in place, and return the module.

    Those of a layer with `fsdp_unit` are gathered while it computes, all others during the whole
    pass. Scalars are not divided: see `average_undivided`.
    """
    from torch.distributed import broadcast
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    for tensor in module.state_dict().values():
        broadcast(tensor, 0)
    mesh = mesh["data_parallel"]
    scalars = {p for p in module.parameters() if p.ndim == 0}
    for unit in (*_list_units(module), module):
        fully_shard(unit, mesh=mesh, reshard_after_forward=True, ignored_params=scalars)
        for method in FORWARD_METHODS:
            if hasattr(unit, method):
                register_fsdp_forward_method(unit, method)
    return module


def _list_units(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the outermost layers whose parameters nothing outside them uses."""
    for child in module.children():
        is_unit = getattr(child, "fsdp_unit", None)
        if is_unit:
            yield child
        elif is_unit is None:
            yield from _list_units(child)


def full_state_dict(module: nn.Module) -> dict[str, Tensor]:
    """Return the whole tensors of a module. All processes have to call it if it is sharded."""
    return {name: gather_full(tensor) for name, tensor in module.state_dict().items()}


def total_norm(gradients: list[Tensor]) -> Tensor:
    """Return the norm of all gradients, of all processes if they are sharded."""
    sharded = [gradient for gradient in gradients if is_sharded(gradient)]
    whole = [gradient for gradient in gradients if not is_sharded(gradient)]
    norms = [torch.nn.utils.get_total_norm(some) for some in (sharded, whole) if some]
    norms = [gather_full(norm) for norm in norms]
    return norms[0] if len(norms) == 1 else torch.linalg.vector_norm(torch.stack(norms))


def average_undivided(parameters: Iterable[nn.Parameter]) -> None:
    """Average the gradients of parameters that are not divided: FSDP leaves them alone."""
    from torch import distributed

    for p in parameters:
        if p.grad is not None and not is_sharded(p):
            distributed.all_reduce(p.grad)
            p.grad /= distributed.get_world_size()
