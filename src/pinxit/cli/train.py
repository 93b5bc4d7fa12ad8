"""`pinxit train FAMILY DATA`: train a model on images, in a time you choose."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro
from tyro.conf import Positional

from pinxit import console
from pinxit.cli.common import Flag, Json, Out, Quiet
from pinxit.cli.help import format_entry
from pinxit.cli.options import read_options
from pinxit.cli.parse import run_command
from pinxit.cli.suggest import unknown_family
from pinxit.cli.train_settings import (
    find_config,
    find_origins,
    find_typed,
    name_origins,
    save_given,
    with_settings,
)
from pinxit.data.load_options import LoadOptions
from pinxit.errors import UsageError
from pinxit.models import family_of, get_family, list_families
from pinxit.nn.device import Device
from pinxit.runs import Run
from pinxit.training.launcher import follow_launcher, launch, needs_launcher
from pinxit.training.settings import Log, Strategy, TrainingSettings
from pinxit.training.settings_file import AUTO, read_settings

if TYPE_CHECKING:
    from pinxit.training.dry_run import CostEstimate


_command_line: list[str] = []  # of the running command, for further processes of it
_origins: dict[str, str] = {}  # where the options of the running command are from

FAMILY_EXAMPLES = (
    "pinxit train FAMILY photos/ --minutes 5",
    "pinxit train FAMILY photos/ --size 64 --minutes 30 --out runs/photos",
)


def overview() -> str:
    """Return the page that `pinxit train --help` prints."""
    docstrings = {name: get_family(name).__doc__ or "" for name in list_families()}
    families = [(name, text.strip().splitlines()[0]) for name, text in docstrings.items()]
    return "\n".join(
        [
            "usage: pinxit train FAMILY DATA [options]",
            "       pinxit train DATA [options]   (the family is chosen from the images)",
            "       pinxit train --config FILE [FAMILY] [DATA] [options]   (see --save-config)",
            "       pinxit train --resume RUN [--minutes N | --steps N | --epochs N]",
            "",
            "Train a model on images, in the minutes that you choose.",
            "",
            "examples:",
            "  pinxit train vae digits --minutes 0.2",
            "  pinxit train photos/ --minutes 10 --watch-port 8001",
            "  pinxit train vae photos/ --size 64 --minutes 30 --out runs/photos",
            "  pinxit train --resume runs/photos --minutes 60",
            "",
            "families:",
            *(format_entry(name, text, indent=13) for name, text in families),
            "",
            "pinxit train FAMILY --help    shows the options of a family",
            "pinxit train --resume --help  shows the options of resuming",
            "pinxit sources                lists what DATA can be",
        ]
    )


def train_command(args: list[str]) -> int:
    """Run `pinxit train ARGS`; the options depend on the family, which comes first."""
    if not args or args[0] in ("-h", "--help"):
        print(overview())
        return 0 if args else 2
    follow_launcher()
    _command_line[:] = ["train", *args]
    if any(arg.split("=")[0] == "--resume" for arg in args):
        _check_resume_options(args)
        return run_command("train", resume, args)
    return _start(args)


def _start(args: list[str]) -> int:
    """Run `pinxit train [FAMILY] DATA`, with the options of the file that `--config` names."""
    file, rest = find_config(args)
    family = rest[0] if rest and rest[0] in list_families() else None
    settings = None if file is None else read_settings(file, family)
    if family is not None:
        rest = rest[1:]
    elif settings is not None and settings.family != AUTO:
        family = settings.family
    elif not (settings and (not rest or rest[0].startswith("-"))) and not names_data(rest[0]):
        check_family(rest)  # raises
    name = "train" if family is None else f"train {family}"
    command = auto if family is None else family_command(family)
    typed = find_typed(name, command, rest)
    _origins.clear()
    _origins.update(find_origins(settings, typed))
    if settings is not None:
        command = with_settings(command, settings, typed)
    return run_command(name, command, rest)


def _check_resume_options(args: Sequence[str]) -> None:
    """Raise UsageError for an option of training that a resumed run cannot change."""
    can_change = {flag for option in read_options(resume) for flag in option.spellings}
    of_families = {
        flag
        for name in list_families()
        for option in read_options(family_command(name))
        for flag in option.spellings
    }
    for arg in args:
        flag = arg.split("=")[0].replace("_", "-")
        if flag in of_families - can_change:
            raise UsageError(
                f"a resumed run keeps its options: {flag} cannot be changed. "
                "See: pinxit train --resume --help"
            )


def names_data(name: str) -> bool:
    """Return whether the first argument is DATA, not a family."""
    from pinxit.data.shards.patterns import is_pattern
    from pinxit.data.sources import list_source_names

    if name in list_families() or name.startswith("-"):
        return False
    if any(is_pattern(name, suffix) for suffix in (".tar", ".parquet")):
        return True
    return Path(name).exists() or name.split(":")[0] in list_source_names()


def check_family(args: Sequence[str]) -> str:
    """Return the family, the first argument.

    Raises UsageError for anything else; it suggests the whole command.
    """
    family = args[0]
    if family.startswith("-"):
        raise UsageError(f"the family comes first: pinxit train vae DATA {shlex.join(args)}")
    if family not in list_families():
        from pinxit.data.sources import list_source_names

        raise unknown_family(args, list_families(), list_source_names())
    return family


def auto(
    data: Positional[tuple[str, ...]],
    training: TrainingSettings = TrainingSettings(),  # noqa: B008 (frozen)
    load: LoadOptions = LoadOptions(),  # noqa: B008 (frozen)
    out: Out = None,
    overwrite: Flag = False,
    resume_or_start: Flag = False,
    dry_run: Flag = False,
    report: bool = True,
    watch_port: int | None = None,
    config: Path | None = None,
    save_config: Path | None = None,
    quiet: Quiet = False,
    json: Json = False,
) -> int:
    """Train the model that suits the images; which one, and why, is the first line.

    Examples:
        pinxit train photos/ --minutes 10

    Args:
        data: training images: a folder, files or the name of a source (see: pinxit sources)
        training: options of training
        load: options of loading images
        out: run folder; None: a new one, runs/<data>-<family>
        overwrite: replace the run in the folder --out
        resume_or_start: go on with the run in --out, or start it if there is none, so that a
            launcher of jobs can run the same command again after a kill
        dry_run: print all options, time a few steps, and stop
        report: write report.html at the end
        watch_port: show the training in a browser, at this port of 127.0.0.1; 0: a free one
        config: settings file (TOML) with options; those of the command line win
        save_config: write the options that are given as a settings file, before training
        quiet: print no progress
        json: print the paths as JSON
    """
    if not data:
        raise UsageError("no DATA to train on: pinxit train DATA (see: pinxit sources)")
    return _train(
        data, "auto", training, report, json, save_config,
        quiet=quiet, load=load, out=out, overwrite=overwrite,
        resume_or_start=resume_or_start, dry_run=dry_run, watch_port=watch_port,
    )  # fmt: skip


def family_command(name: str) -> Any:
    """Return the command that trains one family, with the options of its `Config`."""
    config_class = get_family(name).Config
    default = config_class()

    def command(
        data: Positional[tuple[str, ...]],
        training: TrainingSettings = TrainingSettings(),  # noqa: B008 (frozen)
        model: Any = default,
        load: LoadOptions = LoadOptions(),  # noqa: B008 (frozen)
        out: Out = None,
        overwrite: Flag = False,
        resume_or_start: Flag = False,
        dry_run: Flag = False,
        report: bool = True,
        watch_port: int | None = None,
        config: Path | None = None,
        save_config: Path | None = None,
        quiet: Quiet = False,
        json: Json = False,
    ) -> int:
        if not data:
            raise UsageError(f"no DATA to train on: pinxit train {name} DATA (see: pinxit sources)")
        return _train(
            data, model, training, report, json, save_config,
            quiet=quiet, load=load, out=out, overwrite=overwrite,
            resume_or_start=resume_or_start, dry_run=dry_run, watch_port=watch_port,
        )  # fmt: skip

    command.__annotations__["model"] = _hide_internal_fields(config_class)
    command.__doc__ = _family_docstring(auto.__doc__ or "", name)
    return command


def _family_docstring(text: str, name: str) -> str:
    """Return the docstring of `auto` with the summary, the examples and the options of a family."""
    family = get_family(name)
    examples = getattr(family, "EXAMPLES", FAMILY_EXAMPLES)
    after = text.partition("    Examples:\n")[2]
    _, _, args = after.partition("\n\n")
    lines = "".join(f"        {example}\n" for example in examples).replace("FAMILY", name)
    args = args.replace("        load: ", "        model: options of the model\n        load: ", 1)
    summary = getattr(family, "SUMMARY", "Train a model.")
    return f"{summary}\n\n    Examples:\n{lines}\n{args}"


def _hide_internal_fields(config_class: Any) -> Any:
    """Hide the fields that training sets itself from the options; returns the class."""
    for name in _internal_fields(config_class):
        config_class.__annotations__[name] = tyro.conf.Suppress[Any]
    return config_class


def _internal_fields(config: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(config) if field.metadata.get("internal")]


def _train(
    data: tuple[str, ...],
    model: Any,
    training: TrainingSettings,
    report: bool,
    json: bool,
    save_config: Path | None,
    **options: Any,
) -> int:
    if save_config is not None:
        parts = (training, options["load"], *([] if model == AUTO else [model]))
        family = AUTO if model == AUTO else family_of(model)
        save_given(save_config, _origins, family, data, parts, {**options, "report": report})
    if needs_launcher(training):
        flags = {"--no-report": not report, "--quiet": options["quiet"], "--json": json}
        shown = [flag for flag, is_set in flags.items() if is_set]
        if options["watch_port"] is not None:
            shown += ["--watch-port", str(options["watch_port"])]
        return launch(
            _command_line,
            lambda run: ["train", "--resume", str(run.path), *shown],
            training,
        )
    from pinxit.training.api import train

    command = shlex.join(["pinxit", *sys.argv[1:]])
    images = data[0] if len(data) == 1 else list(data)
    result = train(model, images, command=command, **options, **dataclasses.asdict(training))
    if options["dry_run"]:
        return _print_estimate(result, options["load"], json)
    return _finish(result, report, json)


def resume(
    resume: Path,
    minutes: float | None = None,
    steps: int | None = None,
    epochs: float | None = None,
    devices: int | None = None,
    nodes: int | None = None,
    strategy: Strategy | None = None,
    accumulate: int | None = None,
    device: Device | None = None,
    log: tuple[Log, ...] | None = None,
    keep: Literal["best", "last"] | None = None,
    data: str | None = None,
    report: bool = True,
    watch_port: int | None = None,
    quiet: Quiet = False,
    json: Json = False,
) -> int:
    """Continue a run from its last checkpoint.

    Examples:
        pinxit train --resume runs/digits-vae
        pinxit train --resume runs/digits-vae --minutes 60

    Args:
        resume: run folder
        minutes: new budget, all sessions included
        steps: new budget, all sessions included
        epochs: new budget, all sessions included
        devices: number of processes of a machine; None: as before
        nodes: number of machines; None: as before
        strategy: ddp or fsdp; None: as before
        accumulate: parts of a batch that are computed one after another; None: as before
        device: where to train; None: as before
        log: tensorboard, wandb or both, for this session; None: as before
        keep: weights that are saved: best, or last, which also ends no training early; None: as
            before
        data: training images, if they have moved or changed
        report: write report.html at the end
        watch_port: show the training in a browser, at this port of 127.0.0.1; 0: a free one
        quiet: print no progress
        json: print the paths as JSON
    """
    from pinxit.training.resume import resolve_resume_settings

    changes = {"minutes": minutes, "steps": steps, "epochs": epochs, "devices": devices}
    changes |= {"nodes": nodes, "strategy": strategy, "accumulate": accumulate}
    changes |= {"device": device, "log": log, "keep": keep}
    settings = resolve_resume_settings(Run(resume), changes)
    if needs_launcher(settings):
        return launch(_command_line, lambda _: _command_line, settings)
    from pinxit.training.api import resume as resume_run

    run = resume_run(resume, data, quiet=quiet, watch_port=watch_port, **changes)
    return _finish(run, report, json)


def _print_estimate(estimate: CostEstimate, load: LoadOptions, json: bool) -> int:
    """Print a dry run: all options, then the measured cost; only in the main process."""
    from rich.table import Table

    from pinxit.training.devices import is_main_process

    if not is_main_process():
        return 0
    plan = estimate.plan
    origins = name_origins(plan, load, _origins)
    if json:
        record = {"options": estimate.options(), "origins": origins, "cost": dict(estimate.rows())}
        console.out_json(record)
        return 0
    table = Table(box=None, show_header=False)
    given = {name: value for name, value in load.to_json().items() if name in _origins}
    for name, value in {**estimate.options(), **given}.items():
        if value is not None and name not in _internal_fields(plan.config):
            table.add_row(f"--{name.replace('_', '-')}", str(value), origins[name])
    costs = Table(box=None, show_header=False)
    for name, text in estimate.rows():
        costs.add_row(name, text)
    console.out_rich(table)
    console.out("")
    console.out_rich(costs)
    return 0


def _finish(run: Run, report: bool, json: bool) -> int:
    """Write the report, and print the paths of the last grid, the report and, last, the run."""
    from pinxit.training.devices import is_main_process

    if not is_main_process():
        return 0
    grids = sorted((run.path / "samples").glob("step-*.png"))
    paths = {"samples": str(grids[-1])} if grids else {}
    if report:
        from pinxit.reports import report as write_report

        paths["report"] = str(write_report(run))
    paths["path"] = str(run.path)
    if json:
        from pinxit.training.verdict import assess

        console.out_json(paths | {"verdict": assess(run).to_json()})
        return 0
    for path in paths.values():
        console.out(path)
    return 0
