"""Compare evaluated runs: metrics, one metric against an option, layer probes, and their plots."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pinxit.errors import UsageError, did_you_mean
from pinxit.evaluation.differences import (
    Difference,
    Evaluation,
    read_evaluation,
    subtract_metrics,
)
from pinxit.evaluation.metrics import get_metric, sort_metric_names
from pinxit.evaluation.protocol_differences import protocol_warnings
from pinxit.reports.charts import Curve, draw_line_chart
from pinxit.reports.templating import render_chart_file
from pinxit.runs import Run

LINE_COLOR, NUM_COLORS = 1, 10  # of the page
BY_LAYER = "probe_by_layer"  # a curve over layers: it needs no option to plot against


def collect_metrics(runs: Sequence[Run], split: str = "test") -> dict[str, list[float | None]]:
    """Return the metrics that any of the runs has, each with one value per run, or None.

    Raises UsageError for a run that is not evaluated on the split.
    """
    metrics = [_get_metrics(run, split) for run in runs]
    names = sort_metric_names(name for run_metrics in metrics for name in run_metrics)
    return {name: [run_metrics.get(name) for run_metrics in metrics] for name in names}


def _get_metrics(run: Run, split: str) -> dict[str, float]:
    run.check()
    record = run.evaluation(split)
    metrics = record.get("metrics")
    if not metrics:
        run.check_weights()
        where, option = ("", "") if split == "test" else (f" on {split}", f" --split {split}")
        command = f"pinxit evaluate {run.shell_path}{option}"
        raise UsageError(f"{run.path} is not evaluated{where} yet. Run: {command}")
    finite = {name: value for name, value in metrics.items() if value is not None}
    return finite | (record.get("facts") or {})


@dataclass(frozen=True)
class Comparison:
    """Metrics of several runs, and the differences of the others to the first one."""

    metrics: dict[str, list[float | None]]  # one value per run
    errors: dict[str, list[float | None]]
    differences: dict[str, list[Difference | None]]  # of the second run and later ones
    best: dict[str, int]  # the run that is better than each other beyond chance
    warnings: list[str]  # where the runs were not measured alike


def compare_evaluations(runs: Sequence[Run], split: str = "test") -> Comparison:
    """Compare what was measured of several runs on a split, with 95 % intervals.

    Raises UsageError for a run that is not evaluated on the split.
    """
    metrics = collect_metrics(runs, split)
    records = [_get_metrics(run, split) for run in runs]
    evaluations = [read_evaluation(run, split) for run in runs]
    names = unique_names(runs)
    protocols = {
        name: evaluation.protocol for name, evaluation in zip(names, evaluations, strict=True)
    }
    differences = {
        name: [subtract_metrics(other, evaluations[0], name) for other in evaluations[1:]]
        for name in metrics
    }
    return Comparison(
        metrics,
        {name: [record.get(f"{name}_error") for record in records] for name in metrics},
        {name: row for name, row in differences.items() if any(row)},
        {name: best for name in metrics if (best := _best_run(evaluations, name)) is not None},
        list(protocol_warnings(protocols)),
    )


def unique_names(runs: Sequence[Run]) -> list[str]:
    """Return the runs' names, or their paths if two have one name."""
    names = [run.name for run in runs]
    return names if len(set(names)) == len(names) else [str(run.path) for run in runs]


def _best_run(evaluations: Sequence[Evaluation], name: str) -> int | None:
    """Return the run that is significantly better than each other with the metric, if any."""
    sign = {"higher": 1, "lower": -1}.get(get_metric(name).better, 0)
    candidates = [i for i, run in enumerate(evaluations) if run.metrics.get(name) is not None]
    if not sign or len(candidates) < 2:
        return None

    def is_best(i: int) -> bool:
        pairs = (
            subtract_metrics(evaluations[i], evaluations[j], name) for j in candidates if j != i
        )
        return all(pair and pair.significant and sign * pair.value > 0 for pair in pairs)

    return next((i for i in candidates if is_best(i)), None)


def get_numeric_option(run: Run, name: str) -> float:
    """Return the value of a model or training option.

    Raises UsageError if there is no such option or it is not a number.
    """
    options = {**run.config["training"], **run.config["model"]}
    if name not in options:
        raise UsageError(f"{run.path} has no option '{name}'.{did_you_mean(name, options)}")
    value = options[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UsageError(f"a curve needs numbers, but '{name}' is {value} in {run.path}.")
    return float(value)


class Point(NamedTuple):
    """A point of a curve."""

    option: float
    value: float
    error: float | None  # None if unknown


def collect_metric_by_option(
    runs: Sequence[Run], metric: str, option: str, split: str = "test"
) -> list[Point]:
    """Return a point for each run that has the metric, sorted by the option.

    Raises UsageError if fewer than two runs have it.
    """
    metrics = collect_metrics(runs, split)
    if metric not in metrics:
        raise UsageError(f"no metric '{metric}' in these runs.{did_you_mean(metric, metrics)}")
    errors = [_get_metrics(run, split).get(f"{metric}_error") for run in runs]
    points = [
        Point(get_numeric_option(run, option), value, error)
        for run, value, error in zip(runs, metrics[metric], errors, strict=True)
        if value is not None
    ]
    if len(points) < 2:
        raise UsageError(f"a curve needs two runs with the metric '{metric}', not {len(points)}.")
    return sorted(points, key=lambda point: point[:2])


def collect_layer_probes(runs: Sequence[Run], split: str = "test") -> dict[str, list[float]]:
    """Return the linear probe accuracy after each layer, by run name, of the runs that have it.

    Raises UsageError if no run has it.
    """
    names = zip(unique_names(runs), runs, strict=True)
    curves = {name: layers for name, run in names if (layers := _get_layer_probe(run, split))}
    if not curves:
        raise UsageError(
            "none of these runs has the curve 'probe_by_layer': it needs a model with features of "
            "every layer, evaluated on images with labels."
        )
    return curves


def _get_layer_probe(run: Run, split: str) -> list[float] | None:
    run.check()
    curve = run.evaluation(split).get("curves", {}).get("probe_by_layer")
    return None if curve is None else [math.nan if value is None else value for value in curve]


# -- plots -----------------------------------------------------------------------------------------


def plot_layer_probes(curves: Mapping[str, Sequence[float]]) -> str:
    """Return an SVG file with one curve per run over its layers (Chen 2020, fig. 2)."""
    drawn = [
        Curve(name, range(len(accuracies)), accuracies, i % NUM_COLORS, dots=True)
        for i, (name, accuracies) in enumerate(curves.items())
    ]
    title = "linear probe accuracy"
    chart = draw_line_chart(drawn, label=f"{title} by layer", x_title="layer", y_title=title)
    return render_chart_file(chart, legend=drawn)


def plot_metric_by_option(points: Sequence[Point], metric: str, option: str) -> str:
    """Return an SVG file with the curve, its values, and bars of one standard error."""
    known, x_title = get_metric(metric), option.replace("_", " ")
    x, y, errors = ([point[i] or 0.0 for point in points] for i in range(3))
    chart = draw_line_chart(
        [Curve(metric, x, y, LINE_COLOR, dots=True, values=True, errors=errors)],
        label=f"{known.title} by {x_title}",
        x_title=x_title,
        y_title=f"{known.title}, {known.unit}" if known.unit else known.title,
    )
    return render_chart_file(chart)
