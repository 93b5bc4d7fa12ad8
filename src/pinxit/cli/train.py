"""`pinxit train FAMILY DATA`: train a model on images, in a time you choose."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro
from tyro.conf import Positional

from pinxit.cli.common import Flag, Out
from pinxit.cli.parse import run_command
from pinxit.cli.suggest import unknown_family
from pinxit.data.load_options import LoadOptions
from pinxit.errors import UsageError
from pinxit.models import get_family, list_families
from pinxit.training.settings import TrainingSettings

if TYPE_CHECKING:
    from pinxit.runs import Run
    from pinxit.training.dry_run import CostEstimate


def overview() -> str:
    """The page that `pinxit train --help` prints."""
    first_lines = {
        name: (get_family(name).__doc__ or "").strip().splitlines()[0] for name in list_families()
    }
    return "\n".join(
        [
            "usage: pinxit train FAMILY DATA [options]",
            "       pinxit train --resume RUN [--minutes N | --steps N | --epochs N]",
            "",
            "families:",
            *(f"  {name:<10} {text}" for name, text in first_lines.items()),
            "",
            "  pinxit train FAMILY --help    its options",
            "  pinxit sources                what DATA can be",
        ]
    )


def train_command(words: list[str]) -> int:
    """Run `pinxit train WORDS`; the options depend on the family that comes first."""
    if not words or words[0] in ("-h", "--help"):
        print(overview())
        return 0 if words else 2
    if any(word.split("=")[0] == "--resume" for word in words):
        return run_command("train", resume, words)
    family = check_family(words)
    return run_command(f"train {family}", family_command(family), words[1:])


def check_family(words: Sequence[str]) -> str:
    """The family that comes first. Raises UsageError with the command that was probably meant."""
    family = words[0]
    if family.startswith("-"):
        raise UsageError(f"the family comes first: pinxit train vae DATA {shlex.join(words)}")
    if family not in list_families():
        from pinxit.data.sources import list_source_names

        names = list_source_names()
        raise unknown_family(words, list_families(), names)
    return family


def family_command(name: str) -> Any:
    """The command of one family, with the options of its `Config`."""
    config_class = get_family(name).Config
    default = config_class()

    def command(
        data: Positional[tuple[str, ...]],
        training: TrainingSettings = TrainingSettings(),  # noqa: B008 (frozen)
        model: Any = default,
        load: LoadOptions = LoadOptions(),  # noqa: B008 (frozen)
        out: Out = None,
        overwrite: Flag = False,
        dry_run: Flag = False,
        report: bool = True,
    ) -> int:
        """Train a model on images.

        Args:
            data: training images: a folder, files or the name of a source (see: pinxit sources)
            training: options of training
            model: options of the model
            load: options of loading images
            out: run folder; None: a new one, runs/<data>-<family>
            overwrite: replace the run in the folder --out
            dry_run: print all options, time a few steps, and stop
            report: write report.html at the end
        """
        if not data:
            raise UsageError(f"no DATA to train on: pinxit train {name} DATA (see: pinxit sources)")
        return _train(
            data=data[0] if len(data) == 1 else list(data),
            model=model,
            training=training,
            report=report,
            load=load,
            out=out,
            overwrite=overwrite,
            dry_run=dry_run,
        )

    command.__annotations__["model"] = _hide_internal_fields(config_class)
    return command


def _hide_internal_fields(config_class: Any) -> Any:
    """The same class; fields that training sets itself are no options of the command line."""
    for field in dataclasses.fields(config_class):
        if field.metadata.get("internal"):
            config_class.__annotations__[field.name] = tyro.conf.Suppress[Any]
    return config_class


def _train(
    *, data: Any, model: Any, training: TrainingSettings, report: bool, **options: Any
) -> int:
    from pinxit.training.api import train

    command = shlex.join(["pinxit", *sys.argv[1:]])
    result = train(model, data, command=command, **options, **dataclasses.asdict(training))
    if options["dry_run"]:
        return _print_estimate(result)
    return _finish(result, report)


def resume(
    resume: Path,
    minutes: float | None = None,
    steps: int | None = None,
    epochs: float | None = None,
    data: str | None = None,
    report: bool = True,
) -> int:
    """Continue a run from its last checkpoint.

    Args:
        resume: run folder
        minutes: new budget, all sessions included
        steps: new budget, all sessions included
        epochs: new budget, all sessions included
        data: training images, if they have moved or changed
        report: write report.html at the end
    """
    from pinxit.training.api import resume as resume_run

    run = resume_run(resume, data, minutes=minutes, steps=steps, epochs=epochs)
    return _finish(run, report)


def _print_estimate(estimate: CostEstimate) -> int:
    """Print a dry run: all options, then the measured cost; only in the main process."""
    from rich.console import Console
    from rich.table import Table

    from pinxit.training.devices import is_main_process

    if not is_main_process():
        return 0
    table = Table(box=None, show_header=False)
    for name, value in estimate.plan.options().items():
        if value is not None:
            table.add_row(name.replace("_", " "), str(value))
    table.add_row("", "")
    for name, text in estimate.rows():
        table.add_row(name, text)
    Console().print(table)
    return 0


def _finish(run: Run, report: bool) -> int:
    """Print the paths of the last sample grid, the report and, last, the run."""
    from pinxit.training.devices import is_main_process

    if not is_main_process():
        return 0
    grids = sorted((run.path / "samples").glob("step-*.png"))
    if grids:
        print(grids[-1])
    if report:
        from pinxit.reports import report as write_report

        print(write_report(run))
    print(run.path)
    return 0
