"""`pinxit explain`: why the samples of a run are blurry, and what would help."""

from __future__ import annotations

from typing import Annotated, Any

from tyro.conf import arg

from pinxit import console
from pinxit.cli.common import (
    Data,
    Flag,
    Json,
    Out,
    Quiet,
    RunFolder,
    check_suffix,
)
from pinxit.nn.device import Device
from pinxit.reports.explain_record import TRIAL_MINUTES, explanation_files

MAX_REMEDIES = 4  # lines of the terminal's summary


def explain(
    run: RunFolder,
    data: Data = (),
    curve: Flag = False,
    try_remedies: Annotated[Flag, arg(name="try")] = False,
    trial_minutes: float = TRIAL_MINUTES,
    out: Out = None,
    device: Device = "auto",
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Explain why the samples of a VAE are blurry, with the run's own images and numbers.

    Prints the causes by size and writes explain.html and explain.json to the run folder, or
    explain-DATA.html and .json for other data than its own: what the decoder averages, what its
    likelihood assumes, what z can hold, what the prior misses, and what would help.

    Examples:
        pinxit explain runs/digits-vae
        pinxit explain runs/digits-vae --curve --try

    Args:
        run: run folder
        data: DATA to explain the run on instead (default: the run's own data)
        curve: also measure distortion over rate: five short trainings at other beta
        try_remedies: also measure what each remedy gains: a short training of each
        trial_minutes: minutes of each short training, by the speed of the run's own training;
            all start from the run's weights, in RUN/explain, and finished ones are kept
        out: HTML file (default: explain.html in the run folder)
        device: where to compute; auto is cuda if there is a GPU, or else cpu
        quiet: print no progress
        json: print explain.json instead of the summary
    """
    from pinxit.nn.device import resolve_device
    from pinxit.reports.explain import check_arguments
    from pinxit.reports.explain import explain as explain_run
    from pinxit.runs import Run

    page = check_suffix(out, ".html", ".htm")
    check_arguments(Run(run), trial_minutes, page, curve=curve)  # before torch is imported
    source = None if not data else data[0] if len(data) == 1 else list(data)
    record = explain_run(
        run,
        source,
        curve=curve,
        try_remedies=try_remedies,
        trial_minutes=trial_minutes,
        out=page,
        device=resolve_device(device),
        progress=not quiet,
    )
    if json:
        console.out_json(record)
        return
    for line in describe_explanation(record):
        console.out(line)
    console.out(str(page or run / explanation_files(record["protocol"])[1]))


def describe_explanation(record: dict[str, Any]) -> list[str]:
    """Return the summary of a record, a few lines."""
    protocol = record["protocol"]
    lines = [
        f"state: {record['state']}; why its samples are blurry "
        f"({protocol['test_images']:,} test images, {protocol['seconds']:.0f} s):"
    ]
    lines += [
        f"  {number}. {cause['title']}: {cause['size']}"
        for number, cause in enumerate(record["causes"], 1)
    ]
    lines += _describe_trials(record) if record["trials"] else _describe_remedies(record)
    lines += [f"warning: {warning}" for warning in record["warnings"]]
    return lines


def _describe_remedies(record: dict[str, Any]) -> list[str]:
    promising = [remedy for remedy in record["remedies"] if remedy["promising"]]
    lines = ["what may help, by rule (--try measures it):"]
    for remedy in promising[:MAX_REMEDIES]:
        lines += [f"  {remedy['text']}: {remedy['effect']}", f"    {remedy['command']}"]
    return lines if promising else []


def _describe_trials(record: dict[str, Any]) -> list[str]:
    kind = "validation" if record["protocol"].get("has_validation", True) else "test"
    lines = [f"what helped in short trials, by gain in the distance of samples ({kind} images):"]
    for trial in record["trials"]:
        if trial["error"]:
            lines.append(f"  {trial['text']}: not trained: {trial['error']}")
            continue
        gain = "not measured"
        if trial["gain"] is not None:
            gain = console.format_estimate(trial["gain"], trial["gain_error"])
        new = " (has new layers, which start untrained)" if trial["has_new_layers"] else ""
        lines += [f"  {gain}  {trial['text']}{new}", f"    {trial['command']}"]
    return lines
