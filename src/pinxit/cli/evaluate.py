"""`pinxit evaluate` and `pinxit report`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pinxit.cli.common import Data, Out, RunFolder, print_json


def evaluate(
    run: RunFolder,
    data: Data = (),
    importance_samples: int = 5_000,
    limit: int | None = None,
    count: int = 5_000,
    distances: bool = True,
    fid: bool = False,
    probe: int = 10_000,
    features: Path | None = None,
    temperature: float | None = None,
    guidance: float = 1.0,
    top_p: float | None = None,
    best_of: int = 1,
    reranker: Path | None = None,
    seed: int = 0,
    device: str | None = None,
    json: bool = False,
) -> None:
    """How good a run is, on the test split: a table, and evaluation.json in the run's folder.

    Args:
        run: the run's folder
        data: DATA; without it the run's own. Its test split is judged
        importance_samples: for each image's log-likelihood; 0 leaves it out
        limit: test images for that; without it as many as take two cores about a minute or two
        count: images on each side of a distance, at most
        distances: of samples and reconstructions to the test images; they need a feature space,
            learned once for a data set
        fid: measure FID too (the extra `fid`, and Inception's weights)
        probe: training images that a linear probe on the features learns from; 0 leaves it out
        features: a run whose frozen encoder is the feature space of the distances, as a masked
            autoencoder's; without it a small network, learned once for a data set
        temperature: of images painted from words; without it 1, and of edits 0
        guidance: of images painted from words
        top_p: paint them from the likeliest codes of so much probability alone
        tries: paint each image so often and keep the likeliest, or what the judge prefers
        judge: a run that captions images: kept is what it would most likely describe by the words
        seed: of the chance
        device: cpu or cuda; without it cuda where there is one
        json: print evaluation.json in place of the table
    """
    from pinxit.evaluation import evaluate as assess

    given = None if not data else data[0] if len(data) == 1 else list(data)
    found = assess(
        run,
        given,
        importance_samples=importance_samples,
        limit=limit,
        count=count,
        distances=distances,
        fid=fid,
        probe=probe,
        features=features,
        temperature=temperature,
        guidance=guidance,
        top_p=top_p,
        best_of=best_of,
        reranker=reranker,
        seed=seed,
        device=device,
    )
    if json:
        print_json(found)
        return
    _print_table(found)
    print(run / "evaluation.json")


def _print_table(found: dict[str, Any]) -> None:
    """The figures by group, each with its standard error; then how they were measured."""
    from rich.console import Console
    from rich.table import Table

    from pinxit.evaluation.metrics import get_metric, groups

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_column("unit")
    table.add_column("better")
    for group, names in groups(found["metrics"]):
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
    """One HTML page that shows a run; it opens without a network.

    Args:
        run: the run's folder
        out: the page; without it report.html in the run's folder
        umap: also a map of the latents by UMAP (needs umap-learn; takes ten seconds or more)
    """
    from pinxit.reports import report

    print(report(run, out, umap=umap))
