"""`pinxit train FAMILY DATA`: a model from images, in a time you choose."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from tyro.conf import Positional, arg

from pinxit.cli.parse import run_command
from pinxit.cli.suggest import unknown_family
from pinxit.errors import UsageError
from pinxit.models import get_family, list_families
from pinxit.training.settings import TrainingSettings

if TYPE_CHECKING:
    from pinxit.training.prepare import TrainingPlan


def overview() -> str:
    """The page that `pinxit train --help` prints."""
    first = {
        name: (get_family(name).__doc__ or "").strip().splitlines()[0] for name in list_families()
    }
    return "\n".join(
        [
            "usage: pinxit train FAMILY DATA [options]",
            "       pinxit train --resume RUN [--minutes N | --steps N | --epochs N]",
            "",
            "families:",
            *(f"  {name:<10} {text}" for name, text in first.items()),
            "",
            "  pinxit train FAMILY --help    its options",
            "  pinxit sources                what DATA may be",
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
    """The command of one family: its own options, then those of training and of reading."""
    kind = get_family(name).Config
    default = kind()

    def command(
        data: Positional[tuple[str, ...]],
        model: Any = default,
        training: TrainingSettings = TrainingSettings(),  # noqa: B008 (frozen)
        out: Annotated[Path | None, arg(aliases=["-o"])] = None,
        size: str | None = None,
        fit: Literal["crop", "pad"] = "crop",
        color: Literal["auto", "grey", "rgb"] = "auto",
        strict: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
        limit: int | None = None,
        captions: str | None = None,
        dry_run: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
        report: bool = True,
    ) -> int:
        """Train a model on images.

        Args:
            data: what to learn from: a folder, a file, a known name (see: pinxit sources)
            model: the family's own options
            training: options of training
            out: folder of the run; None: runs/<data>-<family>
            size: pixels, 64 or 96x64 (width x height); None: the images' own, or chosen
            fit: what is done with images of other proportions
            color: auto looks at the images
            strict: an image that cannot be read is an error, not left out
            limit: take this many images, chosen by the seed
            captions: `labels` makes captions of labels, as "a photo of a sneaker", by the shipped
                templates; or a file of templates. Images that have captions keep them
            dry_run: print what would be trained, and how fast, and stop
            report: make report.html at the end
        """
        if not data:
            raise UsageError(f"no DATA to learn from: pinxit train {name} DATA (pinxit sources).")
        reading = {"size": size, "fit": fit, "color": color, "strict": strict, "limit": limit}
        reading |= {"captions": captions}
        source = data[0] if len(data) == 1 else list(data)
        return _train(
            data=source,
            model=model,
            training=training,
            out=out,
            reading=reading,
            dry_run=dry_run,
            report=report,
        )

    command.__annotations__["model"] = _hide_internal_fields(kind)
    return command


def _hide_internal_fields(config_class: Any) -> Any:
    """The same class; fields that training sets itself are no options of the command line."""
    for field in dataclasses.fields(config_class):
        if field.metadata.get("internal"):
            config_class.__annotations__[field.name] = tyro.conf.Suppress[Any]
    return config_class


def _train(
    *,
    data: Any,
    model: Any,
    training: TrainingSettings,
    out: Path | None,
    reading: dict[str, Any],
    dry_run: bool,
    report: bool,
) -> int:
    from pinxit.training.api import run_session
    from pinxit.training.prepare import prepare_training
    from pinxit.training.run_folder import check_output_dir, create_run
    from pinxit.training.schedule import Clock

    clock = Clock()
    check_output_dir(None if dry_run else out)
    reading["seed"] = training.seed
    prepared = prepare_training(model, data, training, reading)
    from pinxit.training.devices import set_up_fabric

    fabric = set_up_fabric(prepared.settings)
    prepared = prepared.with_world_size(fabric.world_size)
    if fabric.is_global_zero:
        _announce(prepared)
    if dry_run:
        return _dry(prepared, fabric)
    command = shlex.join(["pinxit", *sys.argv[1:]])
    run = create_run(prepared, out, reading, fabric, command)
    run_session(run, prepared.images, prepared.settings, fabric, clock)
    return _finish(run, report)


def resume(
    resume: Path,
    minutes: float | None = None,
    steps: int | None = None,
    epochs: float | None = None,
    data: str | None = None,
    report: bool = True,
) -> int:
    """Go on with a run from its last checkpoint.

    Args:
        resume: folder of the run
        minutes: a new budget, all sessions counted
        steps: a new budget, all sessions counted
        epochs: a new budget, all sessions counted
        data: the images, where they have moved or changed
        report: make report.html at the end
    """
    from pinxit.training.api import resume as go_on

    run = go_on(resume, data, minutes=minutes, steps=steps, epochs=epochs)
    return _finish(run, report)


def _announce(prepared: TrainingPlan) -> None:
    """The choices that were made, on standard error."""
    import dataclasses

    info = prepared.model.info
    color = "grey" if info.channels == 1 else "colour"
    chosen = {**dataclasses.asdict(prepared.config), **dataclasses.asdict(prepared.settings)}
    shown = ["network", "latent_dim", "width", "depth", "likelihood", "batch_size"]
    shown += ["learning_rate"]
    parameters = sum(p.numel() for p in prepared.model.parameters())
    words = [f"{k.replace('_', ' ')} {chosen[k]}" for k in shown if k in chosen]
    print(
        f"{info.num_images:,} training images of {info.width} x {info.height}, {color}; "
        f"{prepared.family} of {parameters:,} parameters: {', '.join(words)}",
        file=sys.stderr,
    )


def _dry(prepared: TrainingPlan, fabric: Any) -> int:
    """Print the configuration and what it will cost; every process measures, the first tells."""
    import dataclasses

    from rich.console import Console
    from rich.table import Table

    from pinxit.training.dry_run import plan

    planned = plan(prepared.model, prepared.images, prepared.settings, fabric)
    if not fabric.is_global_zero:
        return 0
    table = Table(box=None, show_header=False)
    rows = {**dataclasses.asdict(prepared.config), **dataclasses.asdict(prepared.settings)}
    for key, value in rows.items():
        if value is not None:
            table.add_row(key.replace("_", " "), str(value))
    table.add_row("", "")
    for key, text in planned.lines():
        table.add_row(key, text)
    Console().print(table)
    return 0


def _finish(run: Any, report: bool) -> int:
    """The paths of what was made, the run's last."""
    from pinxit.training.devices import leads

    if not leads():
        return 0
    grids = sorted((run.path / "samples").glob("step-*.png"))
    if grids:
        print(grids[-1])
    if report:
        from pinxit.reports import report as make_report

        print(make_report(run))
    print(run.path)
    return 0
