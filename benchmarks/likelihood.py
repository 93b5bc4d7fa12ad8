"""Test log-likelihood from 5,000 importance samples per image: fast path against direct sums."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from benchmarks.measure import Loop, noise_images
from benchmarks.networks import plain_vae
from benchmarks.tables import Cell, Table, ratio
from pinxit.data.images import Images
from pinxit.data.load import load_images
from pinxit.errors import PinxitError
from pinxit.evaluation.log_weights import iw_log_likelihood
from pinxit.models.protocols import HasELBO
from pinxit.models.vae import build
from pinxit.models.vae.config import Config

IW_SAMPLES = 5_000
DIRECT_IMAGES = 4  # timed with the direct computation
DIRECT_SAMPLES = 250  # per call of `log_weights`: all of them are held in memory


def likelihood(quick: bool) -> Iterator[Table]:
    """One table, a row per network: seconds for all test images, and speed-up."""
    images = _load_mnist()
    info, test = images.info(images.split_indices("train")), images.split("test")
    timed = test[:: len(test) // 20][:20] if quick else test
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
        rows.append(_time_network(name, model.eval(), timed, len(test)))
    yield Table(
        f"Likelihood of {len(test):,} test images, {IW_SAMPLES:,} samples each "
        "(must: 240 s; goal: 100 s, on 2 cores)",
        ("network", "images timed", "images/s", "seconds for all", "direct / fast", "nats"),
        tuple(rows),
        (
            "direct: `log_weights` in tiles, with the same number of threads.",
            "The networks are hardly trained: the nats are no result.",
        ),
    )


def _time_network(name: str, model: HasELBO, images: Images, num_test: int) -> tuple[Cell, ...]:
    iw_log_likelihood(model, images[:2], IW_SAMPLES)
    start = time.perf_counter()
    log_p = iw_log_likelihood(model, images, IW_SAMPLES).log_likelihood
    seconds = (time.perf_counter() - start) / len(images)
    direct = _direct_seconds(model, images[:DIRECT_IMAGES]) / DIRECT_IMAGES
    speedup = ratio(direct, seconds)
    nats = float(log_p.mean())
    return name, float(len(images)), 1 / seconds, num_test * seconds, speedup, nats


@torch.inference_mode()
def _direct_seconds(model: HasELBO, images: Images) -> float:
    x = model.observe(images.batch(np.arange(len(images))))
    start = time.perf_counter()
    for _ in range(0, IW_SAMPLES, DIRECT_SAMPLES):
        model.log_weights(x, None, DIRECT_SAMPLES)
    return time.perf_counter() - start


def _load_mnist() -> Images:
    """MNIST if it is available, else noise of the same size, which takes as long."""
    try:
        return load_images("mnist")
    except PinxitError:
        noise = noise_images(20_000, 28, 28)
        return dataclasses.replace(noise, splits=np.repeat([0, 2], 10_000).astype(np.int8))
