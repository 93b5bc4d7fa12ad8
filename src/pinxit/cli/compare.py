"""`pinxit compare`: several runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from pinxit.cli.common import Out, check_suffix, print_json, write_file
from pinxit.errors import UsageError

Runs = Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN RUN ...")]


def compare(
    runs: Runs = (),
    metric: str | None = None,
    against: str | None = None,
    out: Out = None,
    json: bool = False,
) -> None:
    """The figures of several evaluated runs, side by side; or one of them as a curve.

    Args:
        runs: folders of two runs or more, each with its evaluation.json
        metric: plot this metric of evaluation.json, e.g. probe_accuracy ...
        against: ... against this option of the runs, as mask_ratio; for probe_by_layer leave it
            out: that is a curve by itself
        out: the curve's PNG; else FIGURE-AGAINST.png beside the first run
        json: print the figures, or the curve's points, as JSON
    """
    if len(runs) < 2:
        raise UsageError(f"compare takes two runs or more, not {len(runs)}.")
    by_itself = metric == "probe_by_layer"
    if (metric is None or by_itself) != (against is None):
        raise UsageError(
            "a curve needs both, as --metric probe_accuracy --against mask_ratio; "
            "--metric probe_by_layer stands alone."
        )
    where = check_suffix(out, ".png")
    from pinxit.reports.compare_runs import (
        collect_layer_probes,
        collect_metric_by_option,
        collect_metrics,
        plot_layer_probes,
        plot_metric_by_option,
    )
    from pinxit.runs import Run

    opened = [Run(path) for path in runs]
    if by_itself:
        curves = collect_layer_probes(opened)
        where = write_file(
            where or runs[0].parent / "probe_by_layer.png", plot_layer_probes(curves)
        )
        if json:
            print_json({"path": str(where), "curves": curves})
            return
        for name, values in curves.items():
            print(f"{name}: {' '.join(f'{value:.3f}' for value in values)}")
        print(where)
        return
    if metric is not None and against is not None:
        points = collect_metric_by_option(opened, metric, against)
        where = write_file(
            where or runs[0].parent / f"{metric}-{against}.png",
            plot_metric_by_option(points, metric, against),
        )
        if json:
            print_json({"path": str(where), "points": points})
            return
        for x, y in points:
            print(f"{against} {x:g}: {y:.4g}")
        print(where)
        return
    figures = collect_metrics(opened)
    if json:
        print_json({"runs": [str(path) for path in runs], "metrics": figures})
        return
    _print(figures, [run.name for run in opened])


def _print(figures: dict[str, list[float | None]], names: list[str]) -> None:
    """A row a figure, a column a run; the better value in bold."""
    from rich.console import Console
    from rich.table import Table

    from pinxit.evaluation.metrics import get_metric

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("figure")
    for name in names:
        table.add_column(name, justify="right")
    table.add_column("unit")
    table.add_column("better")
    for name, values in figures.items():
        what = get_metric(name)
        there = [value for value in values if value is not None]
        best = {"higher": max, "lower": min}.get(what.better)
        top = best(there) if best and len(there) > 1 else None
        cells = ["" if value is None else f"{value:,.4g}" for value in values]
        shown = [
            f"[bold]{cell}[/bold]" if value is not None and value == top else cell
            for cell, value in zip(cells, values, strict=True)
        ]
        table.add_row(f"{what.group}: {what.title}", *shown, what.unit, what.better)
    Console(highlight=False).print(table)
