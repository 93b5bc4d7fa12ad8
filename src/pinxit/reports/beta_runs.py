"""The section on the weight of the KL: the recorded runs of `pinxit explain --curve`, by beta."""

from __future__ import annotations

from typing import Any

from pinxit.data.images import Images
from pinxit.errors import PinxitError
from pinxit.evaluation.trials import BETA_FACTORS, find_curve_run
from pinxit.models.protocols import CanReconstruct, CanSample
from pinxit.reports.context import ReportContext
from pinxit.reports.formatting import format_number
from pinxit.reports.remedies import read_current_explanation
from pinxit.reports.sections import Section, inline_thumbnails
from pinxit.reports.stepper import Frame
from pinxit.runs import Run

TITLE = "Beta: the weight of the KL"
NUM_IMAGES = 8  # of the split, and samples, for each beta


def beta_runs(context: ReportContext) -> Section | None:
    """Show images, reconstructions and samples of short trainings at each beta."""
    record = read_current_explanation(context)
    if not record or context.subset is None:
        return None
    points = sorted(
        (p for p in record.get("curve") or [] if not p["is_run"]), key=lambda p: p["beta"]
    )
    images = context.subset.evenly_spaced(NUM_IMAGES)
    frames = [frame for point in points if (frame := _frame(context.run, point, images))]
    if len(frames) < 2:
        return None
    values = {
        "frames": frames,
        "count": len(images),
        "steps": record["protocol"].get("curve_steps"),
        "split": context.split,
        "range": f"{BETA_FACTORS[0]:g} to {BETA_FACTORS[-1]:g}",
    }
    return Section("beta_runs", TITLE, values)


def _frame(run: Run, point: dict[str, Any], images: Images) -> Frame | None:
    """Return what the run at a beta makes of the images; None if it is gone."""
    beta, metrics = point["beta"], point["metrics"]
    try:
        model = Run(find_curve_run(run, beta)).load()
    except PinxitError:
        return None
    if not isinstance(model, CanReconstruct) or not isinstance(model, CanSample):
        return None
    rows = [images, model.reconstruct(images), model.sample(len(images), seed=0)]
    alt = f"Images, their reconstructions and samples at a beta of {beta:g}"
    caption = (
        f"β = {beta:g}: distortion {format_number(metrics['distortion'], 3)} nats, "
        f"rate {format_number(metrics['rate'], 3)} nats, "
        f"{int(metrics['active_units'])} active units"
    )
    return Frame(f"{beta:g}", inline_thumbnails(rows, alt), caption)
