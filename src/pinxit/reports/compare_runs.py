"""Several runs side by side: a table of their figures, or one figure against an option."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pinxit.errors import UsageError, did_you_mean
from pinxit.evaluation.metrics import get_metric, sort_metric_names
from pinxit.runs import Run


def compared(runs: Sequence[Run]) -> dict[str, list[float | None]]:
    """Each figure that any of the runs has, with one value a run, None where it has none.

    Raises UsageError where a run was not evaluated yet.
    """
    found = []
    for run in runs:
        run.config  # noqa: B018 (a folder that is no run says so)
        figures = run.evaluation().get("metrics")
        if not figures:
            raise UsageError(f"{run.path} is not evaluated yet: pinxit evaluate {run.path}")
        found.append(figures)
    names = sort_metric_names(name for figures in found for name in figures)
    return {name: [figures.get(name) for figures in found] for name in names}


def option_of(run: Run, name: str) -> float:
    """The value of an option of the model or of its training.

    Raises UsageError where there is none, or where it is not a number.
    """
    options = {**run.config["training"], **run.config["model"]}
    if name not in options:
        raise UsageError(f"{run.path} has no option '{name}'.{did_you_mean(name, options)}")
    value = options[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UsageError(f"'{name}' is {value} in {run.path}: a curve needs numbers.")
    return float(value)


def curve(runs: Sequence[Run], figure: str, against: str) -> list[tuple[float, float]]:
    """(option, figure) of each run that has it, in the option's order.

    Raises UsageError where fewer than two runs have the figure.
    """
    known = compared(runs)
    if figure not in known:
        raise UsageError(f"no figure '{figure}' in these runs.{did_you_mean(figure, known)}")
    pairs = zip(runs, known[figure], strict=True)
    points = sorted((option_of(run, against), value) for run, value in pairs if value is not None)
    if len(points) < 2:
        raise UsageError(f"a curve needs two runs with the figure '{figure}', not {len(points)}.")
    return points


def by_layer(runs: Sequence[Run]) -> dict[str, list[float]]:
    """The linear probe's accuracy after each layer, of each run that has it.

    Raises UsageError where none has.
    """
    found = {}
    for run in runs:
        run.config  # noqa: B018 (a folder that is no run says so)
        layers = run.evaluation().get("curves", {}).get("probe_by_layer")
        if layers:
            found[run.name] = layers
    if not found:
        raise UsageError("none of these runs has a probe by layer: igpt has, evaluated on labels.")
    return found


def drawn_by_layer(curves: Mapping[str, Sequence[float]]) -> bytes:
    """The bytes of a PNG: each run's curve over its layers (Chen 2020, fig. 2)."""

    def draw(axes: Any) -> None:
        for name, values in curves.items():
            axes.plot(range(len(values)), values, marker="o", label=name)
        axes.set_xlabel("layers passed")
        axes.set_ylabel("linear probe, share right")
        axes.legend(frameon=False)

    return _sheet(draw)


def drawn(points: Sequence[tuple[float, float]], figure: str, against: str) -> bytes:
    """The bytes of a PNG: the curve, with each value beside its point."""

    def draw(axes: Any) -> None:
        axes.plot(*zip(*points, strict=True), marker="o", color="#c84028")
        for x, y in points:
            axes.annotate(
                f"{y:.3g}", (x, y), xytext=(0, 7), textcoords="offset points", ha="center"
            )
        what = get_metric(figure)
        axes.set_xlabel(against.replace("_", " "))
        axes.set_ylabel(f"{what.title}{f', {what.unit}' if what.unit else ''}")
        axes.margins(y=0.15)

    return _sheet(draw)


def _sheet(draw: Callable[[Any], None]) -> bytes:
    from matplotlib.figure import Figure

    sheet: Any = Figure(figsize=(6, 3.6), dpi=150, layout="constrained")
    axes = sheet.add_subplot()
    draw(axes)
    axes.spines[["top", "right"]].set_visible(False)
    with io.BytesIO() as file:
        sheet.savefig(file, format="png")
        return file.getvalue()
