"""Training throughput, relative to the machine's matrix-product rate in the same precision."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from benchmarks.measure import Loop, noise_images, training_speed
from benchmarks.tables import Table
from pinxit.data.batch import DatasetInfo
from pinxit.data.images import Images
from pinxit.models.vae import build
from pinxit.models.vae.config import Config
from pinxit.training.settings import default_batch_size

# name, height, width, channels, options of the model
MODELS: tuple[tuple[str, int, int, int, dict[str, Any]], ...] = (
    ("mlp, defaults for MNIST", 28, 28, 1, {"likelihood": "bernoulli"}),
    ("mlp of width 2048", 28, 28, 1, {"likelihood": "bernoulli", "width": 2048}),
    ("conv on 28 x 28", 28, 28, 1, {"likelihood": "bernoulli", "network": "conv"}),
    ("conv on 64 x 64, color", 64, 64, 3, {"likelihood": "gaussian"}),
)


def throughput(quick: bool) -> Iterator[Table]:
    """Yield a table of images/s, FLOPs per image and the fraction of the matmul rate."""
    rows = []
    for name, height, width, channels, options in MODELS:
        images = noise_images(2_000 if quick else 20_000, height, width, channels)
        model = build(Config(**options), images.info())
        batch = default_batch_size(dataset_info(images, 60_000))
        loop = Loop(model, images, batch_size=batch)
        speed = training_speed(loop, 0.5 if quick else 5.0, 2 if quick else 5)
        gflops = speed.flops * speed.images_per_second / 1e9
        rows.append(
            (
                name,
                speed.precision,
                float(batch),
                speed.images_per_second,
                speed.flops / 1e6,
                gflops,
                speed.matmul_rate / 1e9,
                f"{speed.share:.0%}",
            )
        )
    yield Table(
        "Training throughput (must: 35 % of the matmul rate; goal: 60 %)",
        (
            "model",
            "precision",
            "batch",
            "images/s",
            "MFLOP/image",
            "GFLOP/s",
            "matmul GFLOP/s",
            "fraction",
        ),
        tuple(rows),
        ("The whole loop: batches, loss, gradients, optimizer and moving average.",),
    )


def dataset_info(images: Images, count: int) -> DatasetInfo:
    """Return the dataset info of `count` such images."""
    return dataclasses.replace(images.info(), num_images=count)
