"""Random numbers of a training batch that several processes, or micro-batches, share.

They are drawn for the whole batch, and each share takes its own rows: what an image is trained with
does not depend on how the batch is divided. Part k of n has the rows k, k + n, k + 2n, ... of the
batch. Outside `share_batch` a batch is whole, and the numbers come from PyTorch's generators.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int64
from torch import Tensor

Device = torch.device | str | None
Draw = Callable[[tuple[int, ...], torch.Generator | None], Tensor]


@dataclass(frozen=True)
class BatchShare:
    """Part `index` of `count` parts of a batch of `size` rows.

    A process computes the parts rank, rank + world_size, ... one after another. The generators of
    all parts of a batch have the same seed.
    """

    index: int
    count: int
    size: int
    seed: int
    world_size: int = 1
    sum_over_processes: Callable[[Tensor], Tensor] = lambda tensor: tensor
    generators: dict[str, torch.Generator] = field(default_factory=dict)

    @property
    def rows(self) -> slice:
        """The rows of the whole batch that are this part's."""
        return slice(self.index, None, self.count)

    @property
    def num_rows(self) -> int:
        return self.count_rows(self.size)

    @property
    def is_last(self) -> bool:
        """Whether this is the last part that its process computes."""
        return self.index + self.world_size >= self.count

    def count_rows(self, first: int) -> int:
        """Return how many of the first rows of the whole batch are this part's."""
        return len(range(self.index, first, self.count))

    def generator(self, device: torch.device) -> torch.Generator:
        """Return the batch's generator on a device."""
        key = str(device)
        if key not in self.generators:
            self.generators[key] = torch.Generator(device).manual_seed(self.seed)
        return self.generators[key]


WHOLE = BatchShare(0, 1, 0, 0)
_current: ContextVar[BatchShare | None] = ContextVar("share of a batch", default=None)


@contextmanager
def share_batch(share: BatchShare) -> Iterator[BatchShare]:
    """Draw the numbers of this share of a batch inside the context."""
    token = _current.set(share)
    try:
        yield share
    finally:
        _current.reset(token)


def current_share() -> BatchShare:
    """Return the share of a batch that is being computed; `WHOLE` outside `share_batch`."""
    return _current.get() or WHOLE


def whole_size(n: int) -> int:
    """Return the number of rows of the whole batch of which n are here."""
    share = _current.get()
    return n if share is None else share.size


def row_numbers(n: int, device: Device = None) -> Int64[Tensor, " n"]:
    """Return the numbers that n rows have in the whole batch."""
    share = current_share()
    return share.index + share.count * torch.arange(n, device=device)


def count_first(fraction: float, n: int) -> int:
    """Return how many of n rows belong to the first rows of the whole batch, a fraction of it."""
    share = _current.get()
    if share is None:
        return round(fraction * n)
    return share.count_rows(round(fraction * share.size))


def count_last(fraction: float, n: int) -> int:
    """Return how many of n rows belong to the last rows of the whole batch, a fraction of it."""
    share = _current.get()
    if share is None:
        return round(fraction * n)
    return n - share.count_rows(share.size - round(fraction * share.size))


def batch_rand(n: int, *shape: int, device: Device = None) -> Float[Tensor, "n ..."]:
    """Uniform numbers of [0, 1) for the n rows that are here."""
    return _draw((n, *shape), device, lambda size, g: torch.rand(size, generator=g, device=device))


def batch_randn(n: int, *shape: int, device: Device = None) -> Float[Tensor, "n ..."]:
    """Standard normal numbers for the n rows that are here."""
    return _draw((n, *shape), device, lambda size, g: torch.randn(size, generator=g, device=device))


def batch_randint(
    low: int, high: int, n: int, *shape: int, device: Device = None
) -> Int64[Tensor, "n ..."]:
    """Integers from `low` to below `high` for the n rows that are here."""
    return _draw(
        (n, *shape),
        device,
        lambda size, g: torch.randint(low, high, size, generator=g, device=device),
    )


def batch_randperm(n: int, device: Device = None) -> Int64[Tensor, " n"]:
    """The places that the n rows that are here have in a random order of the whole batch."""
    return _draw((n,), device, lambda size, g: torch.randperm(size[0], generator=g, device=device))


def common_randint(high: int, shape: tuple[int, ...] = (), device: Device = None) -> Tensor:
    """Integers from 0 to below `high` that are the same in every share of the batch."""
    return torch.randint(high, shape, generator=_generator(device), device=device)


def common_randn(shape: tuple[int, ...], device: Device = None) -> Tensor:
    """Standard normal numbers that are the same in every share of the batch."""
    return torch.randn(shape, generator=_generator(device), device=device)


def _draw(shape: tuple[int, ...], device: Device, draw: Draw) -> Tensor:
    """Draw for the whole batch, and return the rows that are here."""
    share = _current.get()
    if share is None:
        return draw(shape, None)
    if shape[0] != share.num_rows:
        raise ValueError(f"{shape[0]} rows are not the {share.num_rows} of this share.")
    whole = draw((share.size, *shape[1:]), _generator(device))
    return whole if share.count == 1 else whole[share.rows].contiguous()


def _generator(device: Device) -> torch.Generator | None:
    share = _current.get()
    return None if share is None else share.generator(torch.device(device or "cpu"))
