"""Compare evaluated runs: metrics, one metric against an option, layer probes, and their plots."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from pinxit.errors import UsageError, did_you_mean
from pinxit.evaluation.metrics import get_metric, sort_metric_names
from pinxit.runs import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LINE_COLOR = "#c84028"


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
    if not record.get("metrics"):
        where, option = ("", "") if split == "test" else (f" on {split}", f" --split {split}")
        command = f"pinxit evaluate {run.shell_path}{option}"
        raise UsageError(f"{run.path} is not evaluated{where} yet. Run: {command}")
    return record["metrics"] | (record.get("facts") or {})


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


def collect_metric_by_option(
    runs: Sequence[Run], metric: str, option: str, split: str = "test"
) -> list[tuple[float, float]]:
    """Return (option, metric) of each run that has the metric, sorted by the option.

    Raises UsageError if fewer than two runs have it.
    """
    metrics = collect_metrics(runs, split)
    if metric not in metrics:
        raise UsageError(f"no metric '{metric}' in these runs.{did_you_mean(metric, metrics)}")
    pairs = zip(runs, metrics[metric], strict=True)
    points = [(get_numeric_option(run, option), value) for run, value in pairs if value is not None]
    if len(points) < 2:
        raise UsageError(f"a curve needs two runs with the metric '{metric}', not {len(points)}.")
    return sorted(points)


def collect_layer_probes(runs: Sequence[Run], split: str = "test") -> dict[str, list[float]]:
    """Return the linear probe accuracy after each layer, by run name, of the runs that have it.

    Raises UsageError if no run has it.
    """
    curves = {run.name: layers for run in runs if (layers := _get_layer_probe(run, split))}
    if not curves:
        raise UsageError(
            "none of these runs has the curve 'probe_by_layer': it needs a model with features of "
            "every layer, evaluated on images with labels."
        )
    return curves


def _get_layer_probe(run: Run, split: str) -> list[float] | None:
    run.check()
    return run.evaluation(split).get("curves", {}).get("probe_by_layer")


# -- plots -----------------------------------------------------------------------------------------


def plot_layer_probes(curves: Mapping[str, Sequence[float]]) -> bytes:
    """Return a PNG with one curve per run over its layers (Chen 2020, fig. 2)."""

    def draw(axes: Axes) -> None:
        for name, accuracies in curves.items():
            axes.plot(range(len(accuracies)), accuracies, marker="o", label=name)
        axes.set_xlabel("layer")
        axes.set_ylabel("linear probe accuracy")
        axes.legend(frameon=False)

    return _plot_png(draw)


def plot_metric_by_option(points: Sequence[tuple[float, float]], metric: str, option: str) -> bytes:
    """Return a PNG with the curve, each value beside its point."""

    def draw(axes: Axes) -> None:
        axes.plot(*zip(*points, strict=True), marker="o", color=LINE_COLOR)
        for point in points:
            text, offset = f"{point[1]:.3g}", (0, 7)
            axes.annotate(text, point, xytext=offset, textcoords="offset points", ha="center")
        known = get_metric(metric)
        axes.set_xlabel(option.replace("_", " "))
        axes.set_ylabel(f"{known.title}, {known.unit}" if known.unit else known.title)
        axes.margins(y=0.15)

    return _plot_png(draw)


def _plot_png(draw: Callable[[Axes], None]) -> bytes:
    from matplotlib.figure import Figure  # slow to import, and only plots need it

    figure = Figure(figsize=(6, 3.6), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    draw(axes)
    axes.spines[["top", "right"]].set_visible(False)
    with io.BytesIO() as file:
        figure.savefig(file, format="png")
        return file.getvalue()
