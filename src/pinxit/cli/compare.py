"""`pinxit compare`: the metrics of several runs side by side, or one of them as a curve."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from pinxit import console
from pinxit.cli.common import Json, Out, SplitOrAll, check_suffix, write_file
from pinxit.errors import UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from pinxit.runs import Run

Runs = Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN RUN ...")]
BY_LAYER = "probe_by_layer"  # a curve over layers: it needs no option to plot against


def compare(
    runs: Runs = (),
    metric: str | None = None,
    against: str | None = None,
    split: SplitOrAll = "test",
    out: Out = None,
    json: Json = False,
) -> None:
    """Compare the metrics of several evaluated runs, or plot one of them against an option.

    Examples:
        pinxit compare runs/digits-vae runs/digits-igpt
        pinxit compare runs/a runs/b --metric probe_accuracy --against mask_ratio
        pinxit compare runs/igpt-1 runs/igpt-2 --metric probe_by_layer

    Args:
        runs: two run folders or more, each evaluated
        metric: metric to plot, a name in evaluation.json, for example probe_accuracy
        against: option of the runs for the x axis, for example mask_ratio; probe_by_layer is
            plotted by layer and takes none
        split: compare what was measured on this split
        out: PNG file of the plot (default: METRIC-AGAINST.png beside the first run)
        json: print the metrics, or the points of the plot, as JSON
    """
    if len(runs) < 2:
        raise UsageError(f"compare takes two runs or more, not {len(runs)}.")
    if (metric is None or metric == BY_LAYER) != (against is None):
        raise UsageError(
            "a plot needs both --metric and --against, for example "
            f"--metric probe_accuracy --against mask_ratio; only {BY_LAYER} takes no --against."
        )
    path = check_suffix(out, ".png")
    from pinxit.runs import Run

    opened = [Run(run) for run in runs]
    if metric == BY_LAYER:
        _plot_by_layer(opened, split, path, json)
    elif metric is not None and against is not None:
        _plot_by_option(opened, metric, against, split, path, json)
    else:
        _print_metrics(opened, split, json)


def _plot_by_layer(runs: list[Run], split: str, path: Path | None, json: bool) -> None:
    from pinxit.reports.compare_runs import collect_layer_probes, plot_layer_probes

    curves = collect_layer_probes(runs, split)
    path = write_file(path or runs[0].path.parent / f"{BY_LAYER}.png", plot_layer_probes(curves))
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
    path = path or runs[0].path.parent / f"{metric}-{option}.png"
    write_file(path, plot_metric_by_option(points, metric, option))
    if json:
        console.out_json({"path": str(path), "points": points})
        return
    for x, y in points:
        console.out(f"{option} {x:g}: {console.format_number(y)}")
    console.out(str(path))


def _print_metrics(runs: list[Run], split: str, json: bool) -> None:
    from rich.console import Console

    from pinxit.reports.compare_runs import collect_metrics

    metrics = collect_metrics(runs, split)
    if json:
        console.out_json({"runs": [str(run.path) for run in runs], "metrics": metrics})
        return
    Console(highlight=False).print(_metrics_table(metrics, [run.name for run in runs]))


def _metrics_table(metrics: dict[str, list[float | None]], names: list[str]) -> Table:
    """Return a row per metric, a column per run, groups as headings; the best value is bold."""
    from rich.table import Table

    from pinxit.evaluation.metrics import get_metric, group_metrics

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("metric")
    for name in names:
        table.add_column(name, justify="right")
    table.add_column("unit")
    table.add_column("better")
    for group, group_names in group_metrics(metrics):
        table.add_row(f"[bold]{group}[/bold]")
        for name in group_names:
            metric = get_metric(name)
            cells = _format_values(metrics[name], metric.better)
            table.add_row(f"  {metric.title}", *cells, metric.unit, metric.better)
    return table


def _format_values(values: list[float | None], better: str) -> list[str]:
    """Return the values as text, the best of several in bold."""
    present = [value for value in values if value is not None]
    choose: Any = {"higher": max, "lower": min}.get(better)
    best = choose(present) if choose and len(present) > 1 else None
    texts = ["" if value is None else console.format_number(value) for value in values]
    return [
        f"[bold]{text}[/bold]" if value is not None and value == best else text
        for text, value in zip(texts, values, strict=True)
    ]
