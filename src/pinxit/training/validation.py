"""The validation loss of the averaged weights."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import numpy as np
import torch
from torch import nn

from pinxit.data.images import Images
from pinxit.nn.batch_share import BatchShare, share_batch
from pinxit.nn.rng import mix_seed
from pinxit.training.compilation import plain_networks
from pinxit.training.loop import TrainState, foreach, seed_generators, sum_of_numbers
from pinxit.training.sharding import gather_full, locals_of


@contextmanager
def ema_weights(state: TrainState) -> Iterator[None]:
    """Put the model in evaluation mode, with the averaged weights swapped in."""
    parameters = locals_of(state.parameters)
    backup = [p.clone() for p in parameters]
    foreach._foreach_copy_(parameters, locals_of(state.ema_params))
    state.module.eval()
    try:
        with plain_networks(state.module):
            yield
    finally:
        foreach._foreach_copy_(parameters, backup)
        state.module.train()


@contextmanager
def whole_model(state: TrainState) -> Iterator[nn.Module | None]:
    """Return the model with its current weights in the main process, None in the others.

    Where the weights are divided, it is a copy of the model that holds them all for a while.
    """
    if not state.is_sharded:
        yield state.module if state.fabric.is_global_zero else None
        return
    tensors = {}
    for name, tensor in state.module.state_dict().items():
        full = gather_full(tensor)  # in every process
        if state.replica is not None:
            tensors[name] = full.cpu()
    if state.replica is None:
        yield None
        return
    state.replica.load_state_dict(tensors)
    yield state.replica.to(state.fabric.device).eval()
    state.replica.to("cpu")


def validate(
    state: TrainState,
    images: Images,
    rows: np.ndarray,
    batch_size: int,
    seed: int,
    accumulate: int = 1,
) -> dict[str, float]:
    """Return the mean `loss` and its parts on these rows, with averaged weights, in fp32.

    Each process computes its share of every batch, in as many parts as in training: more may not
    fit into memory. The noise is the same at each call, however a batch is divided.
    """
    fabric, totals = state.fabric, dict[str, float]()
    with ema_weights(state), torch.no_grad(), torch.random.fork_rng(devices=[]):
        seed_generators(mix_seed(seed, -2), images.batch(rows[:1]).to(fabric.device))
        num_parts = fabric.world_size * accumulate
        starts = range(0, len(rows), batch_size)
        for start, number in itertools.product(starts, range(accumulate)):
            whole = rows[start : start + batch_size]
            part = fabric.global_rank + number * fabric.world_size
            share = BatchShare(part, num_parts, len(whole), mix_seed(seed, -2 - start))
            own = whole[share.rows]
            # a process without a row computes one that does not count: all have to take part
            batch = images.batch(own if len(own) else whole[:1]).to(fabric.device)
            with share_batch(share) if len(own) else nullcontext():
                loss = state.module.loss(batch, 1.0)  # type: ignore[operator]
            for name, value in {"loss": loss.total, **loss.parts}.items():
                totals[name] = totals.get(name, 0.0) + float(value) * len(own)
    sums = sum_of_numbers(fabric, list(totals.values()))
    return {name: value / len(rows) for name, value in zip(totals, sums, strict=True)}
