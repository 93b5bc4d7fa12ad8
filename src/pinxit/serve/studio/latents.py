"""Tasks of the latents tab: sample a latent, rank its dimensions, decode it.

The latents are standard normal noise u, which a learned prior maps to z = f(u).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from pinxit.models.protocols import CanEncode
from pinxit.sampling.latents import from_noise
from pinxit.serve.inference.loading import LoadedRun
from pinxit.serve.inference.tasks import run_task


async def decode_latent(run: LoadedRun, z: np.ndarray) -> np.ndarray:
    """Decode one latent `[latent]` to pixels."""
    model: CanEncode = run.model

    def task(rows: Sequence[np.ndarray]) -> Iterator[list[np.ndarray]]:
        yield list(model.decode(from_noise(model, np.stack(rows))).pixels)

    return (await run_task(run, "decode", task, [z]))[0]


async def sample_latent(run: LoadedRun, seed: int) -> tuple[list[float], list[int]]:
    """Sample a latent of the prior. Return it and its dimensions, those with most effect first."""
    model: CanEncode = run.model

    def task(rows: Sequence[int]) -> Iterator[list[tuple[list[float], list[int]]]]:
        yield [_sample_and_rank(model, seed) for seed in rows]

    return (await run_task(run, "latents", task, [seed]))[0]


def _sample_and_rank(model: CanEncode, seed: int) -> tuple[list[float], list[int]]:
    """Rank a dimension by the mean squared difference of the images at u - 2 and u + 2."""
    size = model.latent_dim
    u = np.random.default_rng(seed).standard_normal(size).astype(np.float32)
    ends = np.concatenate([u + 2 * np.eye(size, dtype=np.float32), u - 2 * np.eye(size)])
    images = model.decode(from_noise(model, ends.astype(np.float32)))
    values = images.pixels.astype(np.float32).reshape(2, size, -1)
    effect = np.square(values[0] - values[1]).mean(-1)
    return [float(v) for v in u], [int(i) for i in np.argsort(-effect, kind="stable")]
