"""Test log-likelihood by 5,000 importance samples an image: time, and the slow way beside it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import torch

from benchmarks.measure import Loop, noise_images
from benchmarks.networks import plain_vae
from benchmarks.tables import Table, ratio
from pinxit.data.images import Images
from pinxit.evaluation.likelihood import RunningLogMeanExp, iw_log_likelihood
from pinxit.models.vae import build
from pinxit.models.vae.config import Config

SAMPLES = 5_000
SLOW = 4  # images that the slow way is timed on
TILE = 250  # its samples at once: it holds what it decodes


def likelihood(quick: bool) -> Iterator[Table]:
    """One table, a row a network: seconds for all test images, and the figures' agreement."""
    images = _mnist()
    info, test = images.info(images.split_indices("train")), images.split("test")
    some = test[:: len(test) // 20][:20] if quick else test
    options: dict[str, Any] = {"likelihood": "bernoulli", "binarize": "dynamic"}
    rows = []
    for name, model in (
        ("784-200-200-50", plain_vae(info, (200, 200), 50, **options)),
        (
            "residual mlp, width 200, depth 1",
            build(Config(network="mlp", latent_dim=50, width=200, depth=1, **options), info),
        ),
    ):
        steps = 100 if quick else 4_000
        Loop(model, images, precision="fp32").train(steps, of=steps)
        rows.append(_row(name, model.eval(), some, len(test)))
    yield Table(
        f"Likelihood of {len(test):,} test images, {SAMPLES:,} samples each "
        "(must: 240 s; goal: 100 s, on 2 cores)",
        ("network", "images timed", "images/s", "seconds for all", "slow way / ours", "nats"),
        tuple(rows),
        (
            "The slow way is `log_weights`, tile by tile, with as many threads.",
            "Few steps of training: the nats are no result.",
        ),
    )


def _row(name: str, model: Any, some: Images, count: int) -> tuple[str | float | None, ...]:
    iw_log_likelihood(model, some[:2], SAMPLES)
    start = time.perf_counter()
    log_p = iw_log_likelihood(model, some, SAMPLES)[0]
    each = (time.perf_counter() - start) / len(some)
    slow = _slow_seconds(model, some[:SLOW]) / SLOW
    return name, float(len(some)), 1 / each, count * each, ratio(slow, each), float(log_p.mean())


@torch.inference_mode()
def _slow_seconds(model: Any, images: Images) -> float:
    import numpy as np

    generator = torch.Generator().manual_seed(0)
    x = model.observe(images.batch(np.arange(len(images))), generator)
    sums = RunningLogMeanExp(len(x))
    start = time.perf_counter()
    while sums.count < SAMPLES:
        sums.add(model.log_weights(x, None, TILE, generator))
    return time.perf_counter() - start


def _mnist() -> Images:
    """MNIST where it can be had; without it images of chance, which take as long."""
    from pinxit.data.load import load_images
    from pinxit.errors import PinxitError

    try:
        return load_images("mnist")
    except PinxitError:
        import dataclasses

        import numpy as np

        noise = noise_images(20_000, 28, 28)
        return dataclasses.replace(noise, splits=np.repeat([0, 2], 10_000).astype(np.int8))
