"""The validation loss of the averaged weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from pinxit.data.images import Images
from pinxit.nn.rng import mix_seed
from pinxit.training.loop import TrainState, foreach, seed_generators


@contextmanager
def ema_weights(state: TrainState) -> Iterator[None]:
    """Put the model in evaluation mode, with the averaged weights swapped in."""
    parameters = [p.detach() for p in state.parameters]
    backup = [p.clone() for p in parameters]
    foreach._foreach_copy_(parameters, state.ema_params)
    state.module.eval()
    try:
        yield
    finally:
        foreach._foreach_copy_(parameters, backup)
        state.module.train()


def validate(
    state: TrainState, images: Images, rows: np.ndarray, batch_size: int, seed: int
) -> dict[str, float]:
    """Return the mean `loss` and its parts on these rows, with averaged weights, in fp32.

    The noise is the same at each call.
    """
    totals: dict[str, float] = {}
    with ema_weights(state), torch.no_grad(), torch.random.fork_rng(devices=[]):
        seed_generators(mix_seed(seed, -2), images.batch(rows[:1]).to(state.fabric.device))
        for start in range(0, len(rows), batch_size):
            batch = images.batch(rows[start : start + batch_size]).to(state.fabric.device)
            loss = state.module.loss(batch, 1.0)  # type: ignore[operator]
            for name, value in {"loss": loss.total, **loss.parts}.items():
                totals[name] = totals.get(name, 0.0) + float(value) * len(batch)
    return {name: value / len(rows) for name, value in totals.items()}
