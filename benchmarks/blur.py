"""What sharpens a VAE: variances, priors and losses, after the same steps of the same network.

    python -m benchmarks blur --data mnist --minutes 2 [--quick]

The steps are those that the first run takes in these minutes; each other run takes as many. Options
are those listed here: none is chosen on the test images, on which all is measured once. Runs lie in
build/benchmarks/blur/DATA/.
"""

from __future__ import annotations

import math
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.tables import Cell, Table
from pinxit.data.images import Images
from pinxit.data.load import load_images
from pinxit.errors import UsageError
from pinxit.evaluation.estimates import Estimate
from pinxit.evaluation.feature_space import get_feature_space
from pinxit.evaluation.frechet import fit_gaussian, frechet_distance, leave_out_gaussians
from pinxit.evaluation.jackknife import assign_blocks, jackknife_estimate
from pinxit.evaluation.metrics import collect
from pinxit.evaluation.power_spectrum import sharpness_metrics
from pinxit.evaluation.prior_gap import NUM_BLOCKS
from pinxit.models.vae import Config
from pinxit.runs import Run
from pinxit.sampling.fitted_priors import (
    FittedPrior,
    encode_for_fitting,
    fit_prior,
    sample_from_density,
    select_for_fitting,
)
from pinxit.sampling.inputs import match_labels, select_split
from pinxit.sampling.label_matched import sample_with_label_frequencies
from pinxit.sampling.observation import mean_observation
from pinxit.training.api import train

FOLDER = Path("build/benchmarks/blur")
DATA = ("mnist", "fashion-mnist")
MINUTES = 10.0
QUICK_STEPS, QUICK_IMAGES, QUICK_FEATURES = 4, 400, 16
MAX_IMAGES = 5_000  # on each side of a distance

ONE, ANALYTIC, PER_PIXEL = "variance one", "variance analytic", "variance per pixel"
DEFAULT, FLOW = "default", "prior flow"
ONE_FLOW, ANALYTIC_FLOW = f"{ONE}, {FLOW}", f"{ANALYTIC}, {FLOW}"
VARIANTS: dict[str, dict[str, Any]] = {
    DEFAULT: {},
    ONE: {"likelihood": "gaussian", "sigma": 1.0},
    ANALYTIC: {"likelihood": "gaussian", "variance": "analytic"},
    PER_PIXEL: {"likelihood": "gaussian", "variance": "per-pixel"},
    ONE_FLOW: {"likelihood": "gaussian", "sigma": 1.0, "prior": "flow"},
    ANALYTIC_FLOW: {"likelihood": "gaussian", "variance": "analytic", "prior": "flow"},
    FLOW: {"prior": "flow"},
    "ms-ssim": {"ms_ssim": 0.1},
    "perceptual": {"perceptual": 0.1},
    "adversarial": {"adversarial": 0.5},
}
FITTED: tuple[FittedPrior, ...] = ("mixture", "realnvp")
QUICK_VARIANTS = (DEFAULT, ONE, ANALYTIC, FLOW)
Embed = Callable[[Images], np.ndarray]


class Replicates:
    """A Frechet distance to the test images, and its values without each block of images."""

    def __init__(self, features: np.ndarray, test: np.ndarray, seed: int, *, paired: bool) -> None:
        real = assign_blocks(len(test), None, NUM_BLOCKS)
        own = real if paired else assign_blocks(len(features), None, int(real.max()) + 1, seed)
        self.value = frechet_distance(fit_gaussian(features), fit_gaussian(test))
        sides = zip(
            leave_out_gaussians(features, own), leave_out_gaussians(test, real), strict=False
        )
        self.left_out = [frechet_distance(a, b) for a, b in sides]


@dataclass(frozen=True)
class Result:
    """What one run gives on the test images."""

    distances: Mapping[str, Replicates]  # of samples, reconstructions and fitted priors
    metrics: Mapping[str, float | None]  # sharpness, with errors


def combine(function: Callable[..., float], *distances: Replicates) -> Estimate:
    """Return a function of distances to the same test images, with its jackknife error."""
    rows = zip(*(distance.left_out for distance in distances), strict=True)
    return jackknife_estimate(
        function(*(distance.value for distance in distances)), (function(*row) for row in rows)
    )


def blur(quick: bool, data: Sequence[str] = DATA, minutes: float = MINUTES) -> Iterator[Table]:
    """Yield three tables for each data set: variances, the gap of the prior, and sharpness.

    Raises UsageError for minutes that are not above 0, and for data that cannot be loaded.
    """
    if not 0 < minutes < math.inf:
        raise UsageError(f"--minutes must be above 0, not {minutes:g}.")
    for name in data[:1] if quick else data:
        yield from measure_data(name, minutes, quick=quick)


def measure_data(name: str, minutes: float, *, quick: bool = False) -> Iterator[Table]:
    """Train each variant on a data set, and compare them."""
    images = load_images(name, limit=QUICK_IMAGES if quick else None)
    small: dict[str, Any] = {"latent_dim": 4, "network": "mlp", "width": 16} if quick else {}
    folder = FOLDER / Path(name).name
    steps = QUICK_STEPS if quick else count_steps(images, minutes)
    embed = every_nth_pixel if quick else get_feature_space(images).embed
    fitted = FITTED[:1] if quick else FITTED
    results, notes = {}, []
    for variant, options in VARIANTS.items():
        if quick and variant not in QUICK_VARIANTS:
            continue
        try:
            results[variant] = measure_variant(
                Config(**small, **options),
                images,
                folder / variant.replace(" ", "-"),
                steps,
                fitted,
                embed,
            )
        except UsageError as error:  # options that these images do not allow
            notes.append(f"{variant} is left out: {error}")
    note = f"{steps:,} steps each, of at most {minutes:g} minutes of `{DEFAULT}`."
    if quick:
        note = f"{steps} steps: the numbers are not meaningful."
    yield compare_variances(name, results, (note, *notes))
    yield compare_priors(name, results, (note, GAP_NOTE, *notes))
    yield compare_sharpness(name, results, (note, *notes))


def count_steps(images: Images, minutes: float) -> int:
    """Return the steps that the default network takes in so many minutes, by timing a few."""
    return max(1, train(Config(), images, minutes=minutes, dry_run=True, quiet=True).steps)


def every_nth_pixel(images: Images) -> np.ndarray:
    """Features of no meaning, at once."""
    rows = images.pixels.reshape(len(images), -1).astype(np.float32)
    return rows[:, :: max(1, rows.shape[1] // QUICK_FEATURES)] + 0.0


def measure_variant(
    config: Config,
    images: Images,
    folder: Path,
    steps: int,
    fitted: Sequence[FittedPrior],
    embed: Embed,
) -> Result:
    """Train a run anew and measure it on test images."""
    print(f"{folder}: {steps:,} steps", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    start = time.perf_counter()
    run = train(config, images, out=folder, steps=steps, quiet=True)
    result = measure_run(run, images, fitted, embed)
    print(f"{folder}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    return result


def measure_run(run: Run, images: Images, fitted: Sequence[FittedPrior], embed: Embed) -> Result:
    """Measure samples of the prior and of fitted ones, and reconstructions, on test images."""
    model = run.load()
    test = select_split(match_labels(model, images), "test")[0].evenly_spaced(MAX_IMAGES)
    shown = mean_observation(model, test)
    train_images, valid = select_for_fitting(images)
    train_q, valid_q = (encode_for_fitting(model, part) for part in (train_images, valid))
    sets = {
        "reconstructions": model.reconstruct(test),
        "samples": sample_with_label_frequencies(model, test, len(test), 0),
    }
    for kind in fitted:
        density = fit_prior(kind, train_q, valid_q)
        sets[kind] = sample_from_density(model, density, len(test), like=test)
    real = embed(shown)
    distances = {
        name: Replicates(embed(part), real, seed, paired=name == "reconstructions")
        for seed, (name, part) in enumerate(sets.items(), 1)
    }
    measured = collect(sharpness_metrics(shown, sets["reconstructions"], sets["samples"]))
    return Result(distances, measured.metrics)


# -- tables ----------------------------------------------------------------------------------------

GAP_NOTE = (
    "Gap: (samples - reconstructions) / (samples from N(0, I) - reconstructions), in Frechet "
    f"distance; of `{FLOW}` its own samples and reconstructions over the gap of `{DEFAULT}`."
)


def compare_variances(name: str, results: Mapping[str, Result], notes: tuple[str, ...]) -> Table:
    """The Frechet distance with variance one, divided by that with others: of each prior."""
    rows: list[tuple[Cell, ...]] = []
    kinds = results[ONE].distances if ONE in results else ()
    pairs = [
        (variant, "N(0, I)" if kind == "samples" else kind, ONE, kind)
        for kind in kinds if kind != "reconstructions"
        for variant in (ONE, ANALYTIC, PER_PIXEL) if variant in results
    ]  # fmt: skip
    learned = (ONE_FLOW, ANALYTIC_FLOW)
    if set(learned) <= set(results):
        pairs += [(variant, "flow, learned together", ONE_FLOW, "samples") for variant in learned]
    for variant, prior, one, kind in pairs:
        distance = results[variant].distances[kind]
        own, ratio = combine(lambda value: value, distance), Estimate(1.0, 0.0)
        if variant != one:
            ratio = combine(lambda a, b: a / b, results[one].distances[kind], distance)
        title = variant.removesuffix(f", {FLOW}")
        rows.append((title, prior, own.value, own.error, ratio.value, ratio.error))
    return Table(
        f"{name}: Frechet distance of samples by the variance of p(x|z) (must: 1.8 times; goal: 3)",
        ("p(x|z)", "prior", "distance", "+-", "that of variance one over it", "+- "),
        tuple(rows),
        notes,
    )


def compare_priors(name: str, results: Mapping[str, Result], notes: tuple[str, ...]) -> Table:
    """How much of the gap between samples and reconstructions each prior leaves."""
    rows: list[tuple[Cell, ...]] = []
    if DEFAULT in results:
        plain = results[DEFAULT].distances
        normal, floor = plain["samples"], plain["reconstructions"]
        pairs = [(kind, plain[kind], floor) for kind in plain if kind != "reconstructions"]
        if FLOW in results:
            own = results[FLOW].distances
            pairs.append((FLOW, own["samples"], own["reconstructions"]))
        for kind, samples, reconstructions in pairs:
            distance = combine(lambda value: value, samples)
            gap = combine(divide_gaps, samples, reconstructions, normal, floor)
            title = "N(0, I)" if kind == "samples" else kind
            rows.append((title, distance.value, distance.error, gap.value, gap.error))
    return Table(
        f"{name}: the gap of the prior (must: 0.15; goal: 0.05)",
        ("prior", "distance", "+-", "gap", "+- "),
        tuple(rows),
        notes,
    )


def divide_gaps(samples: float, reconstructions: float, normal: float, floor: float) -> float:
    """Return the gap of samples over that of samples from N(0, I); NaN without one."""
    return (samples - reconstructions) / (normal - floor) if normal > floor else math.nan


def compare_sharpness(name: str, results: Mapping[str, Result], notes: tuple[str, ...]) -> Table:
    """The power of samples in the upper half of frequencies, over that of the images."""
    rows: list[tuple[Cell, ...]] = []
    for variant, result in results.items():
        distance = combine(lambda value: value, result.distances["samples"])
        cells = [
            result.metrics.get(f"sharpness_{part}{suffix}")
            for part in ("samples", "reconstructions")
            for suffix in ("", "_error")
        ]
        rows.append((variant, *cells, distance.value, distance.error))
    return Table(
        f"{name}: power in the upper half of frequencies, over that of the images "
        "(1 is perfect; must: 0.8; goal: 0.9 to 1.1)",
        ("run", "samples", "+-", "reconstructions", "+- ", "distance of samples", " +-"),
        tuple(rows),
        notes,
    )
