"""`pinxit evaluate` and `pinxit report`."""

from __future__ import annotations

from typing import Any

from pinxit.cli.common import Data, Out, RunFolder, print_json
from pinxit.evaluation.options import EvalOptions


def evaluate(
    run: RunFolder,
    data: Data = (),
    options: EvalOptions = EvalOptions(),  # noqa: B008 (frozen)
    device: str | None = None,
    json: bool = False,
) -> None:
    """Measure a run on the test split; write evaluation.json to the run's folder.

    Args:
        run: the run's folder
        data: DATA to evaluate on; without it the run's own. Its test split is used
        options: options of the evaluation
        device: cpu or cuda; without it cuda if there is one
        json: print evaluation.json instead of the table
    """
    from pinxit.evaluation.runner import evaluate as evaluate_run

    source = None if not data else data[0] if len(data) == 1 else list(data)
    record = evaluate_run(run, source, options, device=device)
    if json:
        print_json(record)
        return
    _print_table(record)
    print(run / "evaluation.json")


def _print_table(found: dict[str, Any]) -> None:
    """The figures by group, each with its standard error; then how they were measured."""
    from rich.console import Console
    from rich.table import Table

    from pinxit.evaluation.metrics import get_metric, group_metrics

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_column("unit")
    table.add_column("better")
    for group, names in group_metrics(found["metrics"]):
        table.add_row(f"[bold]{group}[/bold]")
        for name in names:
            known = get_metric(name)
            shown = _shown(found["metrics"], name)
            table.add_row(f"  {known.title}", shown, known.unit, known.better)
    console = Console(highlight=False)
    console.print(table)
    console.print()
    for line in _protocol(found["protocol"]):
        console.print(line, markup=False, soft_wrap=True)
    for warning in found["warnings"]:
        console.print(f"warning: {warning}", markup=False, soft_wrap=True, style="yellow")


def _shown(figures: dict[str, float], name: str) -> str:
    value = figures[name]
    text = f"{value:,.0f}" if float(value).is_integer() else f"{value:,.4g}"
    if abs(value) >= 10 and not float(value).is_integer():
        text = f"{value:,.2f}"
    error = figures.get(f"{name}_error")
    return text if error is None else f"{text} ± {error:.2g}"


def _protocol(protocol: dict[str, Any]) -> list[str]:
    """How it was measured, in a few lines."""
    lines = [
        f"{protocol['data'] or 'the images'}: {protocol['test_images']:,} images, "
        f"split: {protocol['split']}; seed {protocol['seed']}; {protocol['seconds']:.0f} s"
    ]
    if "likelihood" in protocol:
        lines.append(f"likelihood: {protocol['likelihood']}")
    if found := protocol.get("importance"):
        lines.append(f"IW: {found['samples']:,} samples for each of {found['images']:,} images")
    if space := protocol.get("feature_space"):
        network = (
            f"the encoder of the run {space['run']} ({space['family']}; {space['identity']})"
            if "run" in space
            else f"a network that tells the {space['task']} of these images "
            f"({space['accuracy']:.1%} right; {space['identity']})"
        )
        lines.append(
            f"distances: {protocol['distances']['images']:,} images a side, in "
            f"{space['features']} features of {network}; not FID"
        )
    return lines


def report(
    run: RunFolder,
    out: Out = None,
    umap: bool = False,
) -> None:
    """Write the report of a run: one self-contained HTML file.

    Args:
        run: folder of the run
        out: HTML file to write (default: report.html in the run's folder)
        umap: add a map of the latents by UMAP (needs umap-learn, takes ten seconds or more)
    """
    from pinxit.reports import report as write_report

    print(write_report(run, out, umap=umap))
