"""`pinxit evaluate` and `pinxit report`."""

from __future__ import annotations

from typing import Any

from pinxit import console
from pinxit.cli.common import (
    Data,
    Flag,
    Json,
    Out,
    Quiet,
    RunFolder,
    check_suffix,
    print_result,
)
from pinxit.errors import PinxitError, UsageError
from pinxit.evaluation.options import EvalOptions
from pinxit.nn.device import Device, resolve_device


def evaluate(
    run: RunFolder,
    data: Data = (),
    options: EvalOptions = EvalOptions(),  # noqa: B008 (frozen)
    out: Out = None,
    device: Device = "auto",
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Measure how good a run is, on images that it was not trained on.

    Prints a table and writes evaluation.json to the run folder, or evaluation-SPLIT.json for
    another split than test, or evaluation-PRIOR.json with --prior, or evaluation-DATA.json for
    other data than the run's own. What is measured depends on the model: likelihood,
    reconstruction, samples, features, inpainting, text to image, captions.

    Examples:
        pinxit evaluate runs/digits-vae
        pinxit evaluate runs/digits-vae --prior mixture
        pinxit evaluate runs/shapes-draw --split validation --guidance 2

    Args:
        run: run folder
        data: DATA to measure on instead (default: the run's own data)
        options: options of the evaluation
        temperature: sampling temperature: 1 samples from the model, lower is less diverse, 0 takes
            the most likely (default: 1, for edits 0)
        out: JSON file to write instead, for a run folder that cannot be written
        device: where to compute; auto is cuda if there is a GPU, or else cpu
        quiet: print no progress
        json: print evaluation.json instead of the table
    """
    from pinxit.runs import Run

    check_suffix(out, ".json")
    Run(run).check_weights()  # before torch is imported
    from pinxit.evaluation.options import resolve_options
    from pinxit.evaluation.runner import measure

    source = None if not data else data[0] if len(data) == 1 else list(data)
    options = resolve_options(options, {})
    measured = measure(Run(run), source, options, device=resolve_device(device), progress=not quiet)
    if json:
        console.out_json(measured.record)
    else:
        _print_table(measured.record)
    path = measured.write(Run(run), options, out)  # printed first: a disk may be full
    if not json:
        console.out(str(path))
    elif measured.other_data and not quiet:
        console.echo(f"not the run's own data: written to {path}")


def _print_table(record: dict[str, Any]) -> None:
    """Print the metrics by group, with their standard errors, the protocol and the warnings."""
    from rich.console import Console
    from rich.table import Table

    from pinxit.evaluation.metrics import get_metric, group_metrics

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("metric")
    table.add_column("value", justify="right")
    table.add_column("unit")
    table.add_column("better")
    metrics = record["metrics"] | record["facts"]
    for group, names in group_metrics(metrics):
        table.add_row(f"[bold]{group}[/bold]")
        for name in names:
            metric = get_metric(name)
            value = _format_value(metrics, name)
            table.add_row(f"  {metric.title}", value, metric.unit, metric.better)
    terminal = Console(highlight=False)
    terminal.print(table)
    terminal.print()
    terminal.print(f"verdict: {_verdict(record)}", markup=False, soft_wrap=True, style="bold")
    for line in _describe_protocol(record["protocol"]):
        terminal.print(line, markup=False, soft_wrap=True)
    for warning in record["warnings"]:
        terminal.print(f"warning: {warning}", markup=False, soft_wrap=True, style="yellow")


def _verdict(record: dict[str, Any]) -> str:
    from pinxit.training.verdict import Verdict

    return str(Verdict(**record["verdict"]))


def _format_value(metrics: dict[str, float], name: str) -> str:
    """`-99.52 ± 0.25`: the value with its standard error, if it has one."""
    return console.format_estimate(metrics[name], metrics.get(f"{name}_error"))


def _describe_protocol(protocol: dict[str, Any]) -> list[str]:
    """Return how the metrics were measured, in a few lines."""
    lines = [
        f"data: {protocol['data'] or 'images given in Python'}, split: {protocol['split']}, "
        f"{protocol['test_images']:,} images; seed {protocol['seed']}; {protocol['seconds']:.0f} s"
    ]
    if "likelihood" in protocol:
        lines.append(f"likelihood: {protocol['likelihood']}")
    if sampling := protocol.get("importance_sampling"):
        lines.append(
            f"importance-weighted: {sampling['samples_per_image']:,} samples per image, "
            f"{sampling['images']:,} images"
        )
    if (prior := protocol.get("prior", "own")) != "own":
        from pinxit.sampling.fitted_priors import NAMES

        lines.append(f"samples: z of {NAMES[prior]}, fitted afterwards; likelihoods: its own prior")
    generation = {**protocol.get("generation", {}), "seed": None}
    if given := [f"{name} {value}" for name, value in generation.items() if value is not None]:
        lines.append(f"generated with: {', '.join(given)}")
    if surgery := protocol.get("elbo_surgery"):
        limit = surgery["upper_limit_of_mutual_information"]
        lines.append(
            f"I(x; z): {surgery['images']:,} images can show at most "
            f"{limit:.2f} nats; the rest of the KL term counts "
            "as KL(q(z) || p(z))"
        )
    unknown = protocol.get("unknown_words", {})
    if count := unknown.get("captions_with_unknown_words"):
        lines.append(
            f"text: {count:,} of {unknown['captions']:,} captions have words that no training "
            f"caption has: {', '.join(unknown['most_frequent'])}"
        )
    if probe := protocol.get("probe"):
        lines.append(
            f"probe: {probe['training_images']:,} training and {probe['test_images']:,} test "
            f"images; regularization and layer chosen on {probe['chosen_on']}"
        )
    if space := protocol.get("feature_space"):
        lines += _describe_distances(protocol["distances"])
        lines.append(
            f"features: {space['features']} of {_describe_feature_space(space)}; not those of FID"
        )
    return lines


def _describe_distances(distances: dict[str, Any]) -> list[str]:
    """Return how many images are on each side of the distances."""
    kinds = {"samples": "samples", "reconstructions": "reconstructions", "floor_images": "floor"}
    counts = [f"{distances[key]:,} ({name})" for key, name in kinds.items() if key in distances]
    lines = [
        f"distances: {', '.join(counts)} to {distances['images']:,} test images; "
        f"{distances['compared']}"
    ]
    if search := distances.get("memorisation"):
        lines.append(
            f"memorisation: {search['samples']:,} samples and {search['control_images']:,} test or "
            f"validation images (control), among {search['training_images']:,} training images"
        )
    return lines


def _describe_feature_space(space: dict[str, Any]) -> str:
    if "run" in space:
        return f"the encoder of {space['run']} ({space['family']}, {space['weights_hash']})"
    accuracy = space["accuracy"]
    accurate = "" if accuracy is None else f"{accuracy:.1%} accuracy, "
    return (
        f"a small network trained to predict the {space['task']} of these images "
        f"({accurate}{space['weights_hash']})"
    )


def report(
    run: RunFolder,
    out: Out = None,
    umap: Flag = False,
    live: Flag = False,
    json: Json = False,
) -> None:
    """Write the report of a run: one self-contained HTML file.

    Examples:
        pinxit report runs/digits-vae
        pinxit report runs/digits-vae --umap --out digits.html
        pinxit report runs/digits-vae --live --out live.html

    Args:
        run: run folder
        out: HTML file (default: report.html in the run folder)
        umap: add a map of the latents by UMAP (needs umap-learn, takes ten seconds or more)
        live: add the decoder of a VAE, which runs in the page and follows sliders of z, without a
            server (5 MB more)
        json: print the path as JSON
    """
    from pinxit.reports import report as write_report
    from pinxit.runs import Run
    from pinxit.serve.exchange import record_or_warn

    try:
        Run(run).check_weights()
    except UsageError:
        raise
    except PinxitError as error:  # the report has the data and the training curves
        console.echo(f"warning: {error}")
    path = check_suffix(out, ".html", ".htm")
    record_or_warn(Run(run))
    print_result(write_report(run, path, umap=umap, live=live), json)
