"""`pinxit compare`: the metrics of several runs side by side, or one of them as a curve."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from pinxit import console
from pinxit.cli.common import Json, Out, SplitOrAll, check_suffix, print_result, write_file
from pinxit.errors import UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from pinxit.evaluation.differences import Difference
    from pinxit.reports.compare_runs import Comparison
    from pinxit.runs import Run

Runs = Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN RUN ...")]


def compare(
    runs: Runs = (),
    metric: str | None = None,
    against: str | None = None,
    split: SplitOrAll | None = None,
    page: Path | None = None,
    out: Out = None,
    json: Json = False,
) -> None:
    """Compare the metrics of several evaluated runs, or plot one of them against an option.

    Differences have 95 % intervals: image by image where the runs were evaluated on the same
    images. A line names each part of the protocol in which the runs differ.

    Examples:
        pinxit compare runs/digits-vae runs/digits-igpt
        pinxit compare runs/a runs/b --metric probe_accuracy --against mask_ratio
        pinxit compare runs/vae runs/igpt runs/flow --page families.html

    Args:
        runs: two run folders or more, each evaluated
        metric: metric to plot, a name in evaluation.json, for example probe_accuracy
        against: option of the runs for the x axis, for example mask_ratio; probe_by_layer is
            plotted by layer and takes none
        split: compare what was measured on this split; None: test
        page: HTML file to write in place of the table: the images that each run generates from
            nothing and from words, its likelihood, seconds per image and of training; the runs need
            no evaluation
        out: SVG file of the plot (default: METRIC-AGAINST.svg beside the first run)
        json: print metrics, errors and differences, or the points of the plot, as JSON
    """
    from pinxit.reports.compare_runs import BY_LAYER

    if len(runs) < 2:
        raise UsageError(f"compare takes two runs or more, not {len(runs)}.")
    if (metric is None or metric == BY_LAYER) != (against is None):
        raise UsageError(
            "a plot needs both --metric and --against, for example "
            f"--metric probe_accuracy --against mask_ratio; only {BY_LAYER} takes no --against."
        )
    if page is not None and not metric is out is split is None:
        raise UsageError(
            "--page is a file of its own: leave out --metric, --against, --out and --split."
        )
    if out is not None and metric is None:
        raise UsageError("--out is the file of a plot: give --metric and --against.")
    if page is not None and page.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--page ends in .html or .htm, not '{page.suffix}': {page}")
    path = check_suffix(out, ".svg")
    from pinxit.runs import Run

    opened = [Run(run) for run in runs]
    if page is not None:
        from pinxit.reports.goal_page import render_goal_page

        print_result(write_file(page, render_goal_page(opened)), json)
    elif metric == BY_LAYER:
        _plot_by_layer(opened, split or "test", path, json)
    elif metric is not None and against is not None:
        _plot_by_option(opened, metric, against, split or "test", path, json)
    else:
        _print_metrics(opened, split or "test", json)


def _plot_by_layer(runs: list[Run], split: str, path: Path | None, json: bool) -> None:
    from pinxit.reports.compare_runs import BY_LAYER, collect_layer_probes, plot_layer_probes

    curves = collect_layer_probes(runs, split)
    path = write_file(path or runs[0].path.parent / f"{BY_LAYER}.svg", plot_layer_probes(curves))
    if json:
        console.out_json({"path": str(path), "curves": curves})
        return
    for name, values in curves.items():
        console.out(f"{name}: {' '.join(f'{value:.3f}' for value in values)}")
    console.out(str(path))


def _plot_by_option(
    runs: list[Run], metric: str, option: str, split: str, path: Path | None, json: bool
) -> None:
    from pinxit.reports.compare_runs import collect_metric_by_option, plot_metric_by_option

    points = collect_metric_by_option(runs, metric, option, split)
    path = path or runs[0].path.parent / f"{metric}-{option}.svg"
    write_file(path, plot_metric_by_option(points, metric, option))
    if json:
        console.out_json({"path": str(path), "points": points})
        return
    for point in points:
        text = console.format_estimate(point.value, point.error)
        console.out(f"{option} {point.option:g}: {text}")
    console.out(str(path))


def _print_metrics(runs: list[Run], split: str, json: bool) -> None:
    from rich.console import Console

    from pinxit.reports.compare_runs import compare_evaluations, unique_names

    comparison = compare_evaluations(runs, split)
    if json:
        record = dataclasses.asdict(comparison)
        del record["best"]
        console.out_json({"runs": [str(run.path) for run in runs], **record})
        return
    names, terminal = unique_names(runs), Console(highlight=False)
    terminal.print(_metrics_table(comparison, names))
    if len(names) > 2:
        terminal.print()
        terminal.print(_differences_table(comparison, names))
    for line in (*_explain(comparison, names), *(f"warning: {w}" for w in comparison.warnings)):
        style = "yellow" if line.startswith("warning") else None
        terminal.print(line, markup=False, soft_wrap=True, style=style)


def _metrics_table(comparison: Comparison, names: list[str]) -> Table:
    """Return a row per metric, a column per run, groups as headings.

    The best value is bold if it is better than the others beyond chance. Two runs have a column
    with their difference.
    """
    from pinxit.evaluation.metrics import get_metric, group_metrics

    differences = [f"{names[1]} - {names[0]}"] if len(names) == 2 else []
    table = _start_table([*names, *differences], ["unit", "better"])
    for group, group_names in group_metrics(comparison.metrics):
        table.add_row(f"[bold]{group}[/bold]")
        for name in group_names:
            metric, cells = get_metric(name), _format_values(comparison, name)
            if differences:
                cells += [_format_difference(d) for d in comparison.differences.get(name, [None])]
            table.add_row(f"  {metric.title}", *cells, metric.unit, metric.better)
    return table


def _differences_table(comparison: Comparison, names: list[str]) -> Table:
    """Return the differences of the second run and later ones to the first one."""
    from pinxit.evaluation.metrics import get_metric, group_metrics

    table = _start_table([f"{name} - {names[0]}" for name in names[1:]], [])
    for _, group_names in group_metrics(comparison.differences):
        for name in group_names:
            cells = [_format_difference(value) for value in comparison.differences[name]]
            table.add_row(get_metric(name).title, *cells)
    return table


def _start_table(columns: list[str], last: list[str]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("metric")
    for name in columns:
        table.add_column(escape(name), justify="right")
    for name in last:
        table.add_column(name)
    return table


def _format_values(comparison: Comparison, name: str) -> list[str]:
    """Return the values with their errors, the best one in bold."""
    pairs = zip(comparison.metrics[name], comparison.errors[name], strict=True)
    texts = ["" if v is None else console.format_estimate(v, error) for v, error in pairs]
    best = comparison.best.get(name)
    return [f"[bold]{text}[/bold]" if i == best else text for i, text in enumerate(texts)]


def _format_difference(difference: Difference | None) -> str:
    """`+0.42 (0.10 to 0.74)`: the difference and its 95 % interval, `*` if it is not paired."""
    if difference is None:
        return ""
    value, _, _ = console.format_estimate(difference.value, difference.error).partition(" ±")
    text = value if difference.value < 0 else f"+{value}"
    if difference.low is None or difference.high is None:
        return f"{text} (?)"
    low, high = (
        console.format_estimate(limit, difference.error).partition(" ±")[0]
        for limit in (difference.low, difference.high)
    )
    return f"{text} ({low} to {high}){'' if difference.paired else '*'}"


def _explain(comparison: Comparison, names: list[str]) -> Iterator[str]:
    """Yield what the numbers mean."""
    yield "value ± standard error; differences with 95 % intervals; bold: better beyond chance"
    differences = [d for row in comparison.differences.values() for d in row if d is not None]
    if not all(difference.paired for difference in differences):
        yield "* not paired: no values of the same images; an interval as of independent samples"
