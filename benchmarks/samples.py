"""Samples of pinxit and peers after the same minutes of training, in one feature space.

    python -m benchmarks samples [--quick]
    python -m benchmarks.samples --set emoji --model unet2d --minutes 30 [--peer-python PATH]

Every model trains in a process of its own with as many threads. Its samples, their sheet and its
times are stored in build/benchmarks/samples/SET/MODEL/, and used again unless `--fresh` is given:
models can be measured one by one, and a later command compares them.

The peers are in the extra `benchmark`. They may also be in an environment of their own, which
`--peer-python` names: python -m venv peers && peers/bin/pip install diffusers==0.42.1
denoising-diffusion-pytorch==2.3.4 pythae==0.1.2
"""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from benchmarks.measure import PINXIT, seconds_of
from benchmarks.peer_process import count_parameters
from benchmarks.tables import Cell, Table, with_ratios
from pinxit.data.atomic_write import write_atomically
from pinxit.data.images import Images
from pinxit.data.load import load_images
from pinxit.errors import PinxitError, UsageError, did_you_mean
from pinxit.evaluation.feature_space import get_feature_space
from pinxit.evaluation.metrics import collect
from pinxit.evaluation.sample_quality import SampleQuality
from pinxit.runs import load

FOLDER = Path("build/benchmarks/samples")
SETS = {"emoji": 64, "cifar10": 32}  # side of the images in pixels
QUICK_IMAGES = 1_000  # of the data set, in a quick run
SHEET_IMAGES, SHEET_COLUMNS = 48, 12


@dataclass(frozen=True)
class Peer:
    """A model in a process of its own: its script, its package, and the script's options."""

    title: str
    script: str
    package: str
    options: tuple[str, ...] = ()
    is_diffusion: bool = False  # sampled by DDIM


PYTHAE = ("benchmarks.peer_pythae_images", "pythae")
PEERS = {
    "unet2d": Peer("UNet2DModel", "benchmarks.peer_unet2d", "diffusers", is_diffusion=True),
    "lucidrains": Peer(
        "Unet", "benchmarks.peer_lucidrains", "denoising_diffusion_pytorch", is_diffusion=True
    ),
    "pythae-vae": Peer("VAE, mixture of Gaussians", *PYTHAE, options=("--model", "vae")),
    "pythae-vqvae": Peer("VQ-VAE, PixelCNN", *PYTHAE, options=("--model", "vqvae")),
}
MODELS = ("pinxit", *PEERS)


@dataclass(frozen=True)
class Budget:
    """What every model is given. Stored with a result, which is not used for another budget."""

    minutes: float = 30.0  # of training
    samples: int = 500
    sampling_steps: int = 50  # of DDIM, of the peers that are diffusion models
    threads: int = 1
    quick: bool = False


QUICK = Budget(minutes=0.02, samples=64, sampling_steps=2, quick=True)


def samples(quick: bool) -> Iterator[Table]:
    """Yield a table for each data set: Frechet distances of samples, and what they took."""
    if quick:
        yield measure_set("cifar10", MODELS, QUICK, fresh=True)
        return
    for name in SETS:
        yield measure_set(name, MODELS, Budget())


def measure_set(
    name: str,
    models: tuple[str, ...],
    budget: Budget,
    *,
    peer_python: str = sys.executable,
    fresh: bool = False,
) -> Table:
    """Measure the models that have no stored result on a data set, and compare all of them.

    Peers that are not installed are left out with a note.
    """
    images = load_images(name, size=SETS[name], limit=QUICK_IMAGES if budget.quick else None)
    folder = FOLDER / (f"{name}-quick" if budget.quick else name)
    timings: dict[str, dict[str, Any]] = {}
    notes = []
    for model in models:
        out = folder / model
        timing = None if fresh else read_result(model, out, budget)
        if timing is None and model in PEERS and not is_installed(PEERS[model], peer_python):
            notes.append(f"{model} is left out: {PEERS[model].package} is not installed.")
            continue
        timings[model] = timing or measure_model(model, name, images, out, budget, peer_python)
    return compare(name, images, folder, timings, budget, notes)


def read_result(model: str, folder: Path, budget: Budget) -> dict[str, Any] | None:
    """Return the stored timing of a model; None if there is none.

    Raises UsageError if it was measured with another budget, or with fewer samples.
    """
    file = folder / "timing.json"
    if not file.is_file():
        return None
    timing = json.loads(file.read_text())
    for key, value in vars(budget).items():
        stored = timing["budget"][key]
        if key == "sampling_steps" and not is_diffusion(model):
            continue
        if stored != value and not (key == "samples" and stored > value):
            raise UsageError(
                f"{folder} was measured with {key.replace('_', ' ')} {stored}, not {value}. "
                "Measure it again with --fresh, or move it."
            )
    return timing


def is_diffusion(model: str) -> bool:
    """Return whether a model is sampled by DDIM."""
    return model in PEERS and PEERS[model].is_diffusion


def is_installed(peer: Peer, python: str) -> bool:
    """Return whether a Python has a peer's package."""
    code = f"from importlib.util import find_spec as f; raise SystemExit(not f({peer.package!r}))"
    return subprocess.run([python, "-c", code]).returncode == 0


# -- measure ---------------------------------------------------------------------------------------


def measure_model(
    model: str, name: str, images: Images, out: Path, budget: Budget, peer_python: str
) -> dict[str, Any]:
    """Train and sample a model, store samples, sheet and timing, and return the timing."""
    print(f"{name}: {model}, {budget.minutes:g} minutes", file=sys.stderr, flush=True)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    if model in PEERS:
        timing = _run_peer(PEERS[model], images, out, budget, peer_python)
    else:
        timing = _run_pinxit(name, out, budget)
    sheet = Images(np.load(out / "samples.npy")[:SHEET_IMAGES])
    sheet.grid(columns=SHEET_COLUMNS).save(out / "sheet.png")
    timing["budget"] = vars(budget)
    write_atomically(out / "timing.json", json.dumps(timing))
    return timing


def _run_peer(peer: Peer, images: Images, out: Path, budget: Budget, python: str) -> dict[str, Any]:
    """Train and sample a peer on the training images."""
    data = out.parent / "data"
    data.mkdir(exist_ok=True)
    np.save(data / "train.npy", images.split("train").pixels)
    command = [python, "-m", peer.script, str(data), "--out", str(out), *peer.options]
    command += ["--minutes", f"{budget.minutes:g}", "--samples", str(budget.samples)]
    command += ["--sampling-steps", str(budget.sampling_steps)]
    process_seconds = seconds_of(
        [*command, *(["--tiny"] if budget.quick else [])], _threads(budget)
    )
    timing = json.loads((out / "timing.json").read_text())
    (out / "timing.json").unlink()  # written again with the budget, once all is there
    return timing | {"process_seconds": process_seconds}


def _run_pinxit(name: str, out: Path, budget: Budget) -> dict[str, Any]:
    """Train a flow, with the VAE that it contains, by one command, and sample it."""
    import torch

    run = out / "run"
    command = [*PINXIT, "train", "flow", name, "--size", str(SETS[name]), "--condition", "none"]
    command += ["--minutes", f"{budget.minutes:g}", "--no-report", "-o", str(run)]
    small = ["--limit", str(QUICK_IMAGES), "--width", "32", "--depth", "1", "--batch-size", "8"]
    process_seconds = seconds_of([*command, *(small if budget.quick else [])], _threads(budget))
    model = load(run)
    threads = torch.get_num_threads()
    torch.set_num_threads(budget.threads)
    start = time.perf_counter()
    generated = model.sample(budget.samples)
    sampling_seconds = time.perf_counter() - start
    torch.set_num_threads(threads)
    np.save(out / "samples.npy", generated.pixels)
    return {
        **read_training(run),
        "parameters": sum(count_parameters(load(path)) for path in stages(run)),
        "sampling_seconds": sampling_seconds,
        "process_seconds": process_seconds,
        "version": json.loads((run / "config.json").read_text())["versions"]["pinxit"],
    }


def stages(run: Path) -> list[Path]:
    """Return a run and the run that it contains, if any."""
    return [path for path in (run, run / "vae") if path.is_dir()]


def read_training(run: Path) -> dict[str, float]:
    """Sum seconds, steps and images seen of a run and of the run that it contains."""
    total = {"seconds": 0.0, "steps": 0, "images": 0}
    for path in stages(run):
        *_, last = csv.DictReader((path / "metrics.csv").read_text().splitlines())
        total["seconds"] += float(last["seconds"])
        total["steps"] += int(last["step"])
        total["images"] += int(last["images_seen"])
    return total


def _threads(budget: Budget) -> dict[str, str]:
    return {"OMP_NUM_THREADS": str(budget.threads), "MKL_NUM_THREADS": str(budget.threads)}


# -- compare ---------------------------------------------------------------------------------------

COLUMNS = (
    "model",
    "training min",
    "steps",
    "images seen",
    "parameters, millions",
    "sampling, s per image",
    "Frechet distance",
    "error",
)


def compare(
    name: str,
    images: Images,
    folder: Path,
    timings: dict[str, dict[str, Any]],
    budget: Budget,
    notes: list[str],
) -> Table:
    """Build the table of a data set from stored samples."""
    if not timings:
        raise PinxitError(f"nothing to compare on {name}. {' '.join(notes)}")
    test, space = images.split("test"), get_feature_space(images)
    quality = SampleQuality(space, images, test, budget.samples)
    rows, floor = [], (None, None)
    for model, timing in timings.items():
        generated = Images(np.load(folder / model / "samples.npy")[: budget.samples])
        metrics = collect(quality.metrics({"samples": generated})).metrics
        distance = (metrics["frechet_samples"], metrics["frechet_samples_error"])
        rows.append(make_row(model, timing, *distance))
        floor = (metrics["frechet_train_test"], metrics["frechet_train_test_error"])
    rows.append(("training images", None, None, None, None, None, *floor))
    to = list(timings).index("pinxit") if "pinxit" in timings else 0
    task = f"predicts {space.description['task']}, {space.description['accuracy']:.1%} accuracy"
    return Table(
        f"{name}, {images.width} x {images.height}: Frechet distance of samples to test images, "
        "lower is better",
        (*COLUMNS, f"distance / {list(timings)[to]}'s"),
        with_ratios(rows, 6, to=to),
        (
            f"{budget.samples:,} samples of each model, {len(quality.test_subset):,} test images, "
            f"{budget.threads} thread{'s' if budget.threads > 1 else ''}; features of a small "
            f"network ({task}), not FID.",
            *describe_protocol(timings, budget),
            *notes,
            f"Sheets are in {folder}/MODEL/sheet.png.",
        ),
    )


def make_row(
    model: str, timing: dict[str, Any], distance: float | None, error: float | None
) -> tuple[Cell, ...]:
    """Return a model's row, with the version of its package."""
    if model in PEERS:
        title = f"{PEERS[model].package} {timing['version']}: {PEERS[model].title}"
    else:
        title = f"pinxit {timing['version']}: flow, with its VAE"
    counts = (timing["steps"], timing["images"], timing["parameters"] / 1e6)
    per_image = timing["sampling_seconds"] / timing["budget"]["samples"]
    return (title, timing["seconds"] / 60, *counts, per_image, distance, error)


def describe_protocol(timings: dict[str, dict[str, Any]], budget: Budget) -> Iterator[str]:
    """Yield what a reader of the table has to know about the models in it."""
    yield (
        "Training counts from the first step. Steps, images and parameters of several stages are "
        "added up. Sampling is not in the minutes."
    )
    if any(map(is_diffusion, timings)):
        yield (
            f"Diffusion models are sampled by DDIM with {budget.sampling_steps} steps: 1,000 steps "
            "of DDPM take hours on a CPU. Their samples can differ from those of DDPM."
        )
    if "lucidrains" in timings:
        yield (
            "denoising_diffusion_pytorch's Trainer stops by steps: its loop is repeated with a "
            "limit of time."
        )
    if "pythae-vae" in timings:
        yield "The mixture of Gaussians is fitted after training; its time counts as sampling."
    if "pythae-vqvae" in timings:
        yield "Half of the time trains the VQ-VAE, half its PixelCNN."


# -- command ---------------------------------------------------------------------------------------


def main(
    data: Annotated[tuple[str, ...], tyro.conf.arg(name="set", metavar="SET ...")] = tuple(SETS),
    model: Annotated[tuple[str, ...], tyro.conf.arg(metavar="MODEL ...")] = MODELS,
    minutes: float = Budget.minutes,
    samples: int = Budget.samples,
    sampling_steps: int = Budget.sampling_steps,
    threads: int = Budget.threads,
    peer_python: str = sys.executable,
    fresh: bool = False,
    quick: bool = False,
    json_file: Annotated[Path | None, tyro.conf.arg(name="json")] = None,
) -> int:
    """Compare samples of pinxit and peers after the same minutes of training.

    Args:
        data: emoji or cifar10
        model: pinxit, unet2d, lucidrains, pythae-vae or pythae-vqvae
        minutes: minutes to train each model
        samples: images that each model samples
        sampling_steps: DDIM steps of the peers that are diffusion models
        threads: threads of each process
        peer_python: Python that has the peers' packages
        fresh: measure again what is stored
        quick: small networks and few images; the numbers are not meaningful
        json_file: also write all tables to this file
    """
    try:
        for names, known in ((data, tuple(SETS)), (model, MODELS)):
            check_names(names, known)
        budget = QUICK if quick else Budget(minutes, samples, sampling_steps, threads)
        tables = []
        for name in data:
            table = measure_set(name, model, budget, peer_python=peer_python, fresh=fresh)
            print(f"\n{table.to_text()}", flush=True)
            tables.append(table.to_json())
    except PinxitError as error:
        print(f"benchmarks.samples: {error}", file=sys.stderr)
        return error.exit_code
    if json_file:
        print(write_atomically(json_file, json.dumps({"budget": vars(budget), "tables": tables})))
    return 0


def check_names(names: tuple[str, ...], known: tuple[str, ...]) -> None:
    """Raise UsageError for an unknown name."""
    for name in names:
        if name not in known:
            raise UsageError(
                f"no '{name}'.{did_you_mean(name, known)} Choose from: {', '.join(known)}."
            )


if __name__ == "__main__":
    sys.exit(tyro.cli(main, prog="python -m benchmarks.samples"))
