"""Fashion-MNIST: pinxit's VAE beside pythae's default VAE, in one run and one feature space."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from benchmarks.measure import PINXIT, Loop, noise_images, seconds_of, training_speed
from benchmarks.networks import plain_vae
from benchmarks.tables import Cell, Table, median, with_ratios
from pinxit.data.images import Images
from pinxit.data.load import load_images
from pinxit.errors import PinxitError
from pinxit.evaluation.feature_space import get_feature_space
from pinxit.evaluation.metrics import collect
from pinxit.evaluation.sample_quality import SampleQuality
from pinxit.runs import load

LATENT_DIM = 64  # of both
NUM_SAMPLES = 5_000  # images on each side of a distance
FOLDER = Path("build/benchmarks")


@dataclass(frozen=True)
class TrainedVAE:
    """What a trained model generated, and how long it was trained."""

    name: str
    seconds: float  # of training, from the first step on
    process_seconds: float  # of the whole process, with imports and writing
    samples: Images
    reconstructions: Images
    epochs: int = 0  # of pythae


def peers(quick: bool) -> Iterator[Table]:
    """Two tables: Frechet distances with times, and training throughput."""
    if importlib.util.find_spec("pythae") is None:
        raise PinxitError("the peer is not installed: pip install -e '.[benchmark]'")
    images = load_images("fashion-mnist", limit=6_000 if quick else None)
    minutes = 0.15 if quick else 3.0
    yield _compare_distances(images, list(_train_all(images, minutes)))
    yield _compare_throughput(quick)


def _train_all(images: Images, minutes: float) -> Iterator[TrainedVAE]:
    """pinxit for a tenth of the time, pythae for one epoch, then both for the full time."""
    yield _train_pinxit(images, minutes / 10)
    yield _train_pinxit(images, minutes / 10, prior="flow")
    one_epoch = _train_pythae(images, epochs=1)
    yield one_epoch
    yield _train_pinxit(images, minutes)
    yield _train_pinxit(images, minutes, prior="flow")
    longest = _train_pythae(images, epochs=max(2, round(60 * minutes / one_epoch.seconds)))
    mixture = Images(np.load(_pythae_folder(longest.epochs) / "samples-mixture.npy"))
    name = f"{longest.name}, mixture of Gaussians afterwards"
    yield dataclasses.replace(longest, name=name, samples=mixture)
    yield longest


def _train_pinxit(images: Images, minutes: float, prior: str = "standard") -> TrainedVAE:
    out = _remove(FOLDER / f"pinxit-{60 * minutes:g}s-{prior}")
    limit = ["--limit", str(len(images))] if len(images) < 70_000 else []
    command = [*PINXIT, "train", "vae", "fashion-mnist", "--minutes", f"{minutes:g}", *limit]
    options = ["--latent-dim", str(LATENT_DIM), "--prior", prior]
    process_seconds = seconds_of([*command, *options, "--no-report", "-o", str(out)])
    model = load(out)
    name = f"pinxit, {60 * minutes:g} s" + (", flow prior" if prior == "flow" else "")
    reconstructions = model.reconstruct(images.split("test"))
    samples = model.sample(NUM_SAMPLES)
    return TrainedVAE(name, 60 * minutes, process_seconds, samples, reconstructions)


def _train_pythae(images: Images, epochs: int) -> TrainedVAE:
    folder = _remove(_pythae_folder(epochs))
    folder.mkdir(parents=True)
    for split in ("train", "test"):
        np.save(folder / f"{split}.npy", images.split(split).pixels)
    command = [sys.executable, "-m", "benchmarks.peer_pythae", str(folder)]
    options = ["--latent-dim", str(LATENT_DIM), "--epochs", str(epochs)]
    process_seconds = seconds_of([*command, *options, "--samples", str(NUM_SAMPLES)])
    timing = json.loads((folder / "timing.json").read_text())
    name = f"pythae {timing['version']}, {epochs} epoch{'s' if epochs > 1 else ''}"
    samples, reconstructions = (
        Images(np.load(folder / f"{name}.npy")) for name in ("samples", "reconstructions")
    )
    return TrainedVAE(name, timing["seconds"], process_seconds, samples, reconstructions, epochs)


def _pythae_folder(epochs: int) -> Path:
    return FOLDER / f"pythae-{epochs}"


def _remove(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def _compare_distances(images: Images, models: list[TrainedVAE]) -> Table:
    test, space = images.split("test"), get_feature_space(images)
    quality = SampleQuality(space, images, test, NUM_SAMPLES)
    rows: list[tuple[Cell, ...]] = []
    floor: list[float | None] = []
    for model in models:
        _save_sheet(model, test)
        generated = {"samples": model.samples, "reconstructions": model.reconstructions}
        metrics = collect(quality.metrics(generated)).metrics
        floor = [metrics[f"frechet_train_test{end}"] for end in ("", "_error")]
        kinds = ("samples", "samples_error", "reconstructions", "reconstructions_error")
        distances = [metrics[f"frechet_{kind}"] for kind in kinds]
        rows.append((model.name, model.seconds, model.process_seconds, *distances))
    with_samples = with_ratios(rows, 3, to=len(rows) - 1)
    return Table(
        "Fashion-MNIST: Frechet distance to the test images, lower is better",
        (
            "model",
            "training s",
            "process s",
            "samples",
            "error",
            "reconstructions",
            "error",
            "samples / last",
            "reconstructions / last",
        ),
        with_ratios(with_samples, 5, to=len(rows) - 1),
        (
            f"Both have {LATENT_DIM} latents; {NUM_SAMPLES:,} images on each side; features of a "
            f"small classifier ({space.description['accuracy']:.1%} accuracy), not FID. Training "
            f"to test images: {floor[0]:.3f} +- {floor[1]:.3f}.",
            f"Training times count from the first step. Sheets are in {FOLDER}/.",
        ),
    )


def _save_sheet(model: TrainedVAE, test: Images) -> None:
    """Save samples above, and below test images over their reconstructions."""
    columns = 12
    parts = [model.samples[: 3 * columns], test[:columns], model.reconstructions[:columns]]
    name = model.name.replace(" ", "-").replace(",", "")
    Images.concatenate(parts).grid(columns=columns).save(FOLDER / f"{name}.png")


def _compare_throughput(quick: bool) -> Table:
    """Train pythae's network with its batch size in both: 784-512-64, MSE, batches of 64."""
    count = 5_000 if quick else 30_000
    images = noise_images(count, 28, 28)
    mostly_train = Images(images.pixels, splits=np.repeat([0, 2], [count - 10, 10]).astype(np.int8))
    theirs, ours, fraction = [], [], 0.0
    for _ in range(1 if quick else 3):
        trained = _train_pythae(mostly_train, epochs=1)
        theirs.append((count - 10) / trained.seconds)
        options = {"likelihood": "gaussian", "sigma": 1.0}
        model = plain_vae(images.info(), (512,), LATENT_DIM, nn.ReLU, **options)
        speed = training_speed(Loop(model, images, batch_size=64), 2.0, 1)
        ours.append(speed.images_per_second)
        fraction = speed.share
    rows = (("pinxit's loop", median(ours)), ("pythae's trainer", median(theirs)))
    return Table(
        "Training throughput of the same MLP, 784-512-64, in batches of 64",
        ("trainer", "images/s", "ratio"),
        with_ratios(rows, 1, to=1),
        (
            f"pinxit: {fraction:.0%} of the matrix rate at this small batch; its default is 256.",
            "pinxit also keeps an average of the weights and clips gradients.",
        ),
    )
