"""How good the averaged weights are, on images that training does not see."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from pinxit.data.images import Images
from pinxit.nn.rng import mix_seed
from pinxit.training.loop import TrainState, seed_generators


@contextmanager
def ema_weights(trainer: TrainState) -> Iterator[None]:
    """The model in evaluation mode with the averaged weights in place of its own."""
    parameters = [p.detach() for p in trainer.parameters]
    own = [p.clone() for p in parameters]
    torch._foreach_copy_(parameters, trainer.average)  # pyright: ignore[reportPrivateImportUsage]
    trainer.module.eval()
    try:
        yield
    finally:
        torch._foreach_copy_(parameters, own)  # pyright: ignore[reportPrivateImportUsage]
        trainer.module.train()


def validate(
    trainer: TrainState, images: Images, rows: np.ndarray, size: int, seed: int
) -> dict[str, float]:
    """`loss` and its parts on these rows: averaged weights, fp32, the same noise at each call."""
    totals: dict[str, float] = {}
    with ema_weights(trainer), torch.no_grad(), torch.random.fork_rng(devices=[]):
        seed_generators(mix_seed(seed, -2), images.batch(rows[:1]).to(trainer.fabric.device))
        for start in range(0, len(rows), size):
            some = rows[start : start + size]
            batch = images.batch(some).to(trainer.fabric.device)
            loss = trainer.module.loss(batch, 1.0)  # type: ignore[operator]
            for name, value in {"loss": loss.total, **loss.parts}.items():
                totals[name] = totals.get(name, 0.0) + float(value) * len(some)
    return {name: value / len(rows) for name, value in totals.items()}
