"""Fashion-MNIST: ours beside pythae's default VAE, in one run, in one feature space."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.measure import PINXIT, Loop, noise_images, seconds_of, training_speed
from benchmarks.networks import plain_vae
from benchmarks.tables import Cell, Table, median, with_ratios
from pinxit.data.images import Images
from pinxit.errors import PinxitError

LATENT = 64  # both
MADE = 5_000  # images on each side of a distance
FOLDER = Path("build/benchmarks")


@dataclass(frozen=True)
class Made:
    """What a model made, and the time it had."""

    name: str
    seconds: float  # of training; ours counts from the start of the process
    process: float  # of the whole process, its imports and writing too
    samples: Images
    reconstructions: Images


def peers(quick: bool) -> Iterator[Table]:
    """Tables: Frechet distances with times; images of both; training throughput of both."""
    if importlib.util.find_spec("pythae") is None:
        raise PinxitError("the peer is not installed: pip install -e '.[benchmark]'")
    from pinxit.data.load import load_images

    images = load_images("fashion-mnist", limit=6_000 if quick else None)
    minutes = 0.15 if quick else 3.0
    yield _distances(images, list(_all_made(images, minutes)))
    yield _throughput(quick)


def _all_made(images: Images, minutes: float) -> Iterator[Made]:
    """Ours in a tenth of the time, the peer's one epoch, ours in full, the peer as long."""
    yield _ours(images, minutes / 10)
    yield _ours(images, minutes / 10, prior="flow")
    one = _pythae(images, epochs=1)
    yield one
    yield _ours(images, minutes)
    yield _ours(images, minutes, prior="flow")
    yield _pythae(images, epochs=max(2, round(60 * minutes / one.seconds)))


def _ours(images: Images, minutes: float, prior: str = "standard") -> Made:
    from pinxit.runs import load

    out = _empty(FOLDER / f"ours-{60 * minutes:g}s-{prior}")
    limit = ["--limit", str(len(images))] if len(images) < 70_000 else []
    command = [*PINXIT, "train", "vae", "fashion-mnist", "--minutes", f"{minutes:g}", *limit]
    options = ["--latent-dim", str(LATENT), "--prior", prior]
    seconds = seconds_of([*command, *options, "--no-report", "-o", str(out)])
    model = load(out)
    test = images.split("test")
    name = f"pinxit, {60 * minutes:g} s" + (", flow prior" if prior == "flow" else "")
    return Made(name, 60 * minutes, seconds, model.sample(MADE), model.reconstruct(test))


def _pythae(images: Images, epochs: int) -> Made:
    folder = _empty(FOLDER / f"pythae-{epochs}")
    folder.mkdir(parents=True)
    for split in ("train", "test"):
        np.save(folder / f"{split}.npy", images.split(split).pixels)
    command = [sys.executable, "-m", "benchmarks.peer_pythae", str(folder)]
    options = ["--latent-dim", str(LATENT), "--epochs", str(epochs), "--samples", str(MADE)]
    seconds = seconds_of([*command, *options])
    timing = json.loads((folder / "timing.json").read_text())
    name = f"pythae {timing['version']}, {epochs} epoch{'s' if epochs > 1 else ''}"
    made = [Images(np.load(folder / f"{n}.npy")) for n in ("samples", "reconstructions")]
    return Made(name, timing["seconds"], seconds, *made)


def _empty(folder: Path) -> Path:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)
    return folder


def _distances(images: Images, all_made: list[Made]) -> Table:
    from pinxit.evaluation.feature_space import get_feature_space
    from pinxit.evaluation.sample_quality import SampleQuality

    test = images.split("test")
    comparison = SampleQuality(get_feature_space(images), images, test, MADE)
    rows: list[tuple[Cell, ...]] = []
    floor = 0.0
    for made in all_made:
        _sheet(made, test)
        wanted = {"samples": made.samples, "reconstructions": made.reconstructions}
        found = {k: v for k, v in comparison.figures(wanted) if isinstance(v, float)}
        floor = found.get("frechet_train_test", floor)
        distances = [found["frechet_samples"], found["frechet_reconstructions"]]
        rows.append((made.name, made.seconds, made.process, *distances))
    with_samples = with_ratios(rows, 3, to=len(rows) - 1)
    accuracy = comparison.space.facts.get("accuracy")
    return Table(
        "Fashion-MNIST: Frechet distance to the test images, lower is better",
        (
            "model",
            "training s",
            "process s",
            "samples",
            "reconstructions",
            "samples / last",
            "reconstructions / last",
        ),
        with_ratios(with_samples, 4, to=len(rows) - 1),
        (
            f"Both of {LATENT} latents; {MADE:,} images on each side; features of a small "
            f"classifier ({accuracy:.1%} right), not FID. Training to test images: {floor:.3f}.",
            f"pinxit's training time counts from the process's start. Sheets are in {FOLDER}/.",
        ),
    )


def _sheet(made: Made, test: Images) -> None:
    """Samples above; below, test images over their reconstructions."""
    few = 12
    parts = [made.samples[:36], test[:few], made.reconstructions[:few]]
    name = made.name.replace(" ", "-").replace(",", "")
    Images.concatenate(parts).grid(columns=few).save(FOLDER / f"{name}.png")


def _throughput(quick: bool) -> Table:
    """The peer's own network and batch in both trainers: 784-512-64, squared error, 64 a batch."""
    from torch import nn

    count = 5_000 if quick else 30_000
    images = noise_images(count, 28, 28)
    wholly = Images(images.pixels, splits=np.repeat([0, 2], [count - 10, 10]).astype(np.int8))
    theirs, ours, share = [], [], 0.0
    for _ in range(1 if quick else 3):
        made = _pythae(wholly, epochs=1)
        theirs.append((count - 10) / made.seconds)
        model = plain_vae(images.info(), (512,), LATENT, nn.ReLU, likelihood="gaussian", sigma=1.0)
        speed = training_speed(Loop(model, images, batch_size=64), 2.0, 1)
        ours.append(speed.images_per_second)
        share = speed.share
    rows = (("pinxit's loop", median(ours)), ("pythae's trainer", median(theirs)))
    return Table(
        "Training throughput of the same MLP, 784-512-64, in batches of 64",
        ("trainer", "images/s", "ratio"),
        with_ratios(rows, 1, to=1),
        (
            f"pinxit: {share:.0%} of the matrix rate at this small batch; its own default is 256.",
            "pinxit's also keeps a running average of the weights and clips gradients.",
        ),
    )
