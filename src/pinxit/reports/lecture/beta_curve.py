"""The slide on the two terms against each other: beta as a slider over recorded runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pinxit.data.images import Images
from pinxit.data.typed_json import decode_json
from pinxit.errors import PinxitError
from pinxit.evaluation.estimates import estimate_mean
from pinxit.evaluation.trials import FOLDER, TrialRunner, find_curve_run
from pinxit.models.generation import preview_options
from pinxit.models.levels import has_posterior_density
from pinxit.models.protocols import CanEncode, CanReconstruct, CanSample, HasELBO
from pinxit.reports.charts import Curve, draw_line_chart
from pinxit.reports.context import ReportContext
from pinxit.reports.formatting import format_estimate
from pinxit.reports.lecture.slide import Slide, locate
from pinxit.reports.remedies import has_same_images
from pinxit.reports.sections import inline_thumbnails
from pinxit.reports.stepper import MAX_FRAMES, Frame
from pinxit.runs import Run
from pinxit.sampling.elbo import elbo_terms
from pinxit.training.trials import RECORD, hash_file

TITLE = "How much of minimize 2? The weight β, over recorded runs"
NUM_SHOWN = 8  # images, and samples, of each run
MAX_MEASURED = 200  # images for rate and distortion


@dataclass(frozen=True)
class BetaRun:
    """A run with one weight of the KL: both terms, over the same images, and what it shows."""

    beta: float
    rate: float  # nats per image, as the distortion
    rate_error: float
    distortion: float
    distortion_error: float
    reconstructions: Images
    samples: Images
    is_own: bool  # the run of the report itself, not trained further


def beta_curve(context: ReportContext) -> Slide | None:
    """Show reconstructions and samples at each recorded beta, with rate and distortion."""
    model, images = context.model, context.subset
    if images is None or not isinstance(model, CanEncode) or not isinstance(model, HasELBO):
        return None
    if "beta" not in context.model_options or getattr(model, "has_point_posterior", False):
        return None
    images = images.evenly_spaced(MAX_MEASURED)
    runs = [_measure(model, images, _get_beta(context.run), is_own=True)]
    runs += _measure_recorded(context, images)
    runs.sort(key=lambda run: (run.beta, not run.is_own))
    shown = images.evenly_spaced(NUM_SHOWN)
    command = f"pinxit explain {context.run.shell_path} --curve"
    values = {
        "frames": [_make_frame(run, shown) for run in runs[:MAX_FRAMES]],
        "chart": _draw_chart(runs),
        "rows": [_describe(run) for run in runs],
        "num_recorded": len(runs) - 1,
        "num_images": len(images),
        "command": command if has_posterior_density(model) else "",  # it takes no ladder
    }
    code = (locate(TrialRunner.trace_curve), locate(type(model).loss))
    return Slide("beta_curve", TITLE, values, code)


def _get_beta(run: Run) -> float:
    return float(run.config["model"].get("beta") or 0.0)


def _measure_recorded(context: ReportContext, images: Images) -> Iterator[BetaRun]:
    """Yield the runs that `pinxit explain --curve` trained from the weights of this run."""
    for run in _list_curve_runs(context.run):
        if not has_same_images(context.run, run.config.get("data") or {}):
            context.missing.append(f"A run of the curve over β is of other images: {run.path}")
            continue
        try:
            yield _measure(run.load(), images, _get_beta(run), is_own=False)
        except (PinxitError, OSError) as error:
            context.missing.append(f"A run of the curve over β cannot be shown: {error}")


def _list_curve_runs(own: Run) -> list[Run]:
    """Return the runs of the curve that took as many steps as most: others do not compare."""
    records = sorted((own.path / FOLDER).glob(f"*/{RECORD}"))
    weights = hash_file(own.weights_path) if records else ""
    steps = {file.parent: _read_steps(own, file, weights) for file in records}
    counts = Counter(value for value in steps.values() if value is not None)
    most = counts.most_common(1)[0][0] if counts else None
    return [Run(folder) for folder, value in steps.items() if value is not None and value == most]


def _read_steps(own: Run, file: Path, weights: str) -> int | None:
    """Return the steps of a trial; None if unfinished, of other weights, or not of the curve."""
    try:
        record = decode_json(file.read_text(encoding="utf-8"))
        run, changes = Run(file.parent), set(record["changes"])
        is_of_curve = changes <= {"beta"} and find_curve_run(own, _get_beta(run)) == run.path
        is_finished = bool(run.config.get("finished"))
    except (OSError, ValueError, KeyError, TypeError, PinxitError):
        return None
    is_shown = record.get("weights") == weights and is_of_curve and is_finished
    return record.get("steps") if is_shown else None


def _measure(model: Any, images: Images, beta: float, *, is_own: bool) -> BetaRun:
    terms = elbo_terms(model, images)
    assert isinstance(model, CanSample)
    assert isinstance(model, CanReconstruct)
    rate = estimate_mean(terms.rate.sum(1), images.groups)
    distortion = estimate_mean(terms.distortion, images.groups)
    return BetaRun(
        beta,
        rate.value,
        rate.error,
        distortion.value,
        distortion.error,
        model.reconstruct(images.evenly_spaced(NUM_SHOWN)),
        model.sample(NUM_SHOWN, seed=0, **preview_options(model)),
        is_own,
    )


def _make_frame(run: BetaRun, images: Images) -> Frame:
    text = _describe(run)
    content = {
        "images": inline_thumbnails([images], "Images"),
        "reconstructions": inline_thumbnails([run.reconstructions], "Their reconstructions"),
        "samples": inline_thumbnails([run.samples], "Samples"),
    }
    caption = f"β {text['beta']}: rate {text['rate']} nats, distortion {text['distortion']} nats"
    return Frame(text["name"], content, caption)


def _describe(run: BetaRun) -> dict[str, str]:
    beta = f"{run.beta:g}"
    return {
        "beta": beta,
        "name": f"{beta}, this run" if run.is_own else beta,
        "rate": _format(run.rate, run.rate_error),
        "distortion": _format(run.distortion, run.distortion_error),
    }


def _format(value: float, error: float) -> str:
    return " ".join(format_estimate(value, error)).strip()


def _draw_chart(runs: Sequence[BetaRun]) -> dict[str, Any] | None:
    """Draw distortion over rate, the recorded runs as a curve; None with nothing recorded."""
    recorded = sorted((run for run in runs if not run.is_own), key=lambda run: run.rate)
    if len(recorded) < 2:
        return None
    own = next(run for run in runs if run.is_own)
    curves = [
        Curve(
            "short trainings at other β",
            [run.rate for run in recorded],
            [run.distortion for run in recorded],
            dots=True,
        ),
        Curve("this run", [own.rate], [own.distortion], 1, dots=True),
    ]
    svg = draw_line_chart(
        curves,
        label="Distortion over rate",
        x_title="minimize 2: rate, nats",
        y_title="minimize 1: distortion, nats",
    )
    return {"svg": svg, "curves": curves}
