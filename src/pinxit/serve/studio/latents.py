"""Tasks of the latents tab: sample or encode a latent, rank its dimensions, decode it.

The latents are standard normal noise u, which a learned prior maps to z = f(u).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from pinxit.data.images import Images
from pinxit.models.protocols import CanEncode, CanReconstruct
from pinxit.nn.rng import per_image_normal
from pinxit.sampling.prior_noise import from_noise, to_noise
from pinxit.serve.inference.loading import LoadedRun
from pinxit.serve.inference.tasks import run_task
from pinxit.serve.media.uploads import UploadedImage
from pinxit.serve.pools import work_on_images

MAX_RANKED = 128  # latents of which the effect is measured: two images are decoded for each


async def decode_latent(run: LoadedRun, z: np.ndarray) -> np.ndarray:
    """Decode one latent `[latent]` to pixels."""
    model: CanEncode = run.model

    def task(rows: Sequence[np.ndarray]) -> Iterator[list[np.ndarray]]:
        yield list(model.decode(from_noise(model, np.stack(rows))).pixels)

    return (await run_task(run, "decode", task, [z]))[0]


async def sample_latent(run: LoadedRun, seed: int) -> np.ndarray:
    """Return the latent of the first sample of a seed."""
    noise = per_image_normal(1, (run.model.latent_dim,), seed)
    return noise.numpy()[0]


async def encode_image(run: LoadedRun, source: UploadedImage) -> np.ndarray:
    """Return the posterior mean of an image, in the prior's noise space."""
    model: CanEncode = run.model

    def task(rows: Sequence[np.ndarray]) -> Iterator[list[np.ndarray]]:
        yield list(to_noise(model, model.encode(Images(np.stack(rows))).flatten().mean))

    rows = [await work_on_images(source.fit_to, run.info)]
    return (await run_task(run, "encode", task, rows))[0]


async def rank_latents(run: LoadedRun, u: np.ndarray) -> list[int]:
    """Return dimensions of a latent, those with most effect on its image first."""
    model: CanEncode = run.model

    def task(rows: Sequence[np.ndarray]) -> Iterator[list[list[int]]]:
        yield [_rank(model, row) for row in rows]

    return (await run_task(run, "rank latents", task, [u]))[0]


def _rank(model: CanEncode, u: np.ndarray) -> list[int]:
    """Rank a dimension by the mean squared difference of the images at u - 2 and u + 2."""
    count = min(len(u), MAX_RANKED)
    rows = np.linspace(0, len(u) - 1, count).round().astype(int)
    offsets = 2 * np.eye(len(u), dtype=np.float32)[rows]
    images = model.decode(from_noise(model, np.concatenate([u + offsets, u - offsets])))
    values = images.pixels.astype(np.float32).reshape(2, count, -1)
    effect = np.square(values[0] - values[1]).mean(-1)
    return [int(i) for i in rows[np.argsort(-effect, kind="stable")]]


async def reconstruct_image(run: LoadedRun, source: UploadedImage) -> np.ndarray:
    """Return an image after encoding and decoding."""
    model: CanReconstruct = run.model

    def task(rows: Sequence[np.ndarray]) -> Iterator[list[np.ndarray]]:
        yield list(model.reconstruct(Images(np.stack(rows))).pixels)

    rows = [await work_on_images(source.fit_to, run.info)]
    return (await run_task(run, "reconstruct", task, rows))[0]
