"""VAEs of pinxit and pythae after the same minutes of one core, on the same images.

    python -m benchmarks vaes [--minutes 3] [--quick]

Every model trains in a process of its own with one thread. What it generated is stored in
build/benchmarks/vaes/MODEL/ and used again for the same minutes, so that a run can be continued.
Nothing is chosen on the test images, on which all is measured once. The environment variable
PEER_PYTHON names a Python that has pythae, where this one does not.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import PINXIT, seconds_of
from benchmarks.samples import Peer, is_installed, read_training
from benchmarks.tables import Cell, Table
from pinxit.data.atomic_write import write_atomically
from pinxit.data.images import Images
from pinxit.data.load import load_images
from pinxit.errors import PinxitError, UsageError
from pinxit.evaluation.feature_space import get_feature_space
from pinxit.evaluation.metrics import collect
from pinxit.evaluation.power_spectrum import sharpness_metrics
from pinxit.evaluation.sample_quality import SampleQuality

FOLDER = Path("build/benchmarks/vaes")
DATA = "fashion-mnist"
MINUTES = 3.0
QUICK_MINUTES, QUICK_SAMPLES = 0.02, 200
NUM_SAMPLES = 5_000  # images on each side of a distance
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
PYTHAE = Peer("pythae", "benchmarks.peer_pythae_vaes", "pythae")

HEAD = ("--decoder-head", "autoregressive", "--likelihood", "discretized-logistic")
OURS = {
    "pinxit: VAE": (),
    "pinxit: prior flow": ("--prior", "flow"),
    "pinxit: RAE-L2": ("--posterior", "deterministic", "--decoder-l2", "0.001"),
    "pinxit: autoregressive head": HEAD,
}
THEIRS = ("vae", "rae-l2", "iwae", "vamp", "vqvae")
FITTED_AFTERWARDS = ("pinxit: VAE", "pinxit: RAE-L2")  # their z, by a mixture of Gaussians
NO_PRIOR = ("pinxit: RAE-L2",)
TITLES = {"vae": "VAE", "rae-l2": "RAE-L2", "iwae": "IWAE", "vamp": "VAMP", "vqvae": "VQ-VAE"}
SAMPLERS = {
    "normal": "N(0, I)",
    "own": "its own prior",
    "mixture": "mixture of Gaussians fitted afterwards",
    "maf": "MAF fitted afterwards",
    "vamp": "its VampPrior",
    "pixelcnn": "PixelCNN",
}


def vaes(quick: bool, minutes: float = MINUTES) -> Iterator[Table]:
    """Yield one table: distances, sharpness, recall and coverage of each model and sampler.

    Raises UsageError for minutes that are not above 0, PinxitError if pythae is not installed.
    """
    if not 0 < minutes < math.inf:
        raise UsageError(f"--minutes must be above 0, not {minutes:g}.")
    python = os.environ.get("PEER_PYTHON", sys.executable)
    if not is_installed(PYTHAE, python):
        raise PinxitError("the peer is not installed: pip install -e '.[benchmark]'")
    minutes = QUICK_MINUTES if quick else minutes
    images = load_images(DATA, limit=2_000 if quick else None)
    count = QUICK_SAMPLES if quick else NUM_SAMPLES
    timings = {
        model: measure_model(model, images, minutes, count, python) for model in (*OURS, *THEIRS)
    }
    yield compare(images, timings, minutes, count)


def folder_of(model: str) -> Path:
    """Return where the images of a model are stored."""
    return FOLDER / model.replace(": ", "-").replace(" ", "-")


def measure_model(
    model: str, images: Images, minutes: float, count: int, python: str = sys.executable
) -> dict[str, Any]:
    """Train and sample a model, or return what is stored for these minutes and images."""
    out = folder_of(model)
    budget = {"minutes": minutes, "samples": count, "images": len(images)}
    if (out / "result.json").is_file():
        stored = json.loads((out / "result.json").read_text())
        if stored["budget"] == budget:
            return stored
    print(f"{model}, {minutes:g} minutes", file=sys.stderr, flush=True)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    if model in OURS:
        timing = _run_pinxit(model, images, out, minutes, count)
    else:
        timing = _run_pythae(model, images, out, minutes, count, python)
    timing["budget"] = budget
    write_atomically(out / "result.json", json.dumps(timing))
    return timing


def _run_pinxit(
    model: str, images: Images, out: Path, minutes: float, count: int
) -> dict[str, Any]:
    limit = ("--limit", str(len(images))) if len(images) < 70_000 else ()
    run = out / "run"
    command = (*PINXIT, "train", "vae", DATA, "--latent-dim", "64", *OURS[model], *limit)
    training = ("--minutes", f"{minutes:g}", "--no-report", "-o", str(run))
    seconds_of((*command, *training), ONE_THREAD)
    samplers = ([] if model in NO_PRIOR else ["own"]) + (
        ["mixture"] if model in FITTED_AFTERWARDS else []
    )
    np.save(out / "test.npy", images.split("test").pixels)
    code = (
        "import sys, numpy, pinxit\n"
        "run, out = pinxit.Run(sys.argv[1]), sys.argv[2]\n"
        f"for prior in {samplers}:\n"
        f"    numpy.save(f'{{out}}/{{prior}}.npy', run.sample({count}, prior=prior).pixels)\n"
        "test = numpy.load(f'{out}/test.npy')\n"
        "numpy.save(f'{out}/reconstructions.npy', run.reconstruct(test).pixels)\n"
    )
    seconds_of((sys.executable, "-c", code, str(run), str(out)), ONE_THREAD)
    version = json.loads((run / "config.json").read_text())["versions"]["pinxit"]
    return {**read_training(run), "samplers": samplers, "version": version}


def _run_pythae(
    model: str, images: Images, out: Path, minutes: float, count: int, python: str
) -> dict[str, Any]:
    for split in ("train", "test"):
        np.save(out / f"{split}.npy", images.split(split).pixels)
    command = (python, "-m", PYTHAE.script, str(out), "--out", str(out), "--model", model)
    seconds_of((*command, "--minutes", f"{minutes:g}", "--samples", str(count)), ONE_THREAD)
    return json.loads((out / "timing.json").read_text())


# -- the table -------------------------------------------------------------------------------------

METRICS = ("frechet_samples", "frechet_reconstructions", "sharpness_samples", "recall", "coverage")
COLUMNS = (
    "model",
    "images seen",
    "Frechet distance of samples",
    "error",
    "of reconstructions",
    "error",
    "power of samples, upper frequencies",
    "error",
    "recall",
    "error",
    "coverage",
    "error",
)


def compare(
    images: Images, timings: dict[str, dict[str, Any]], minutes: float, count: int
) -> Table:
    """Build the table from what is stored."""
    test, space = images.split("test"), get_feature_space(images)
    quality = SampleQuality(space, images, test, count)
    rows: list[tuple[Cell, ...]] = []
    for model, timing in timings.items():
        reconstructions = Images(np.load(folder_of(model) / "reconstructions.npy"))
        for sampler in timing["samplers"]:
            samples = Images(np.load(folder_of(model) / f"{sampler}.npy"))
            sets = {"samples": samples, "reconstructions": reconstructions}
            metrics = collect(quality.metrics(sets)).metrics
            metrics |= collect(sharpness_metrics(test, reconstructions, samples)).metrics
            values = [metrics.get(f"{name}{end}") for name in METRICS for end in ("", "_error")]
            rows.append((_title(model, sampler, timing), timing["images"], *values))
            samples[:96].grid(columns=16).save(folder_of(model) / f"{sampler}.png")
    return Table(
        f"{DATA}: {minutes:g} minutes of one core each",
        COLUMNS,
        tuple(rows),
        (
            f"64 latents each (pythae's VQ-VAE: a grid of codes); {count:,} samples; features of "
            f"a small classifier ({space.description['accuracy']:.1%} accuracy), not FID. A power "
            "of 1 is that of the data.",
            "pythae's defaults: Adam at 1e-4, batches of 64, MLP; its MAF has half of the time "
            "beside that of its VAE; of its VQ-VAE half of the time is the PixelCNN's.",
            f"Sheets are in {FOLDER}/MODEL/SAMPLER.png.",
        ),
    )


def _title(model: str, sampler: str, timing: dict[str, Any]) -> str:
    name = model if model in OURS else f"pythae {timing['version']}: {TITLES[model]}"
    return f"{name}, {SAMPLERS[sampler]}"
