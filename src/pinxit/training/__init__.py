"""Training: a visible loop, and the session that runs it.

`train` makes a run from a family's configuration and images; `resume` goes on with one.
"""

from __future__ import annotations

import dataclasses
import platform
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pinxit.errors import PinxitError, UsageError
from pinxit.training.settings import BUDGETS, Settings, chosen_batch, chosen_learning_rate

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from pinxit.data.images import Images
    from pinxit.runs import Run
    from pinxit.training.schedule import Clock


@dataclass(frozen=True)
class Prepared:
    """All that a training needs, with every choice made."""

    family: str
    config: Any
    settings: Settings
    images: Images
    model: Any
    tensors: dict[str, Any]  # of the model, taken from the images: a palette
    files: list[str]  # where DATA was several files

    def shared_by(self, processes: int) -> Prepared:
        """The same with a batch of equal shares for so many processes."""
        batch = max(1, (self.settings.batch_size or 1) // processes) * processes
        settings = dataclasses.replace(self.settings, batch_size=batch)
        return dataclasses.replace(self, settings=settings)


def prepare(
    model: Any, images: Any, settings: Settings, reading: dict[str, Any] | None = None
) -> Prepared:
    """Open the images and make every open choice.

    `model` is a family's name or its `Config`, `images` are `Images` or what DATA may be,
    `reading` are options of `load_images`. Raises UsageError for what cannot be.
    """
    from pinxit.data.load import load_images
    from pinxit.models import family, family_of, make
    from pinxit.training.devices import chosen_device, settled_precision
    from pinxit.training.precision import seconds_of_step

    config = family(model).Config() if isinstance(model, str) else model
    loaded = load_images(images, **(reading or {}))
    rows = loaded.rows_of("train")
    built, tensors = make(config, loaded, rows, settings.seed, _tokenizer(config))
    facts = built.facts
    parameters = sum(p.numel() for p in built.parameters())
    fit = getattr(family(family_of(config)), "BATCH", None) if chosen_device() == "cpu" else None
    batch = min(facts.count, settings.batch_size or chosen_batch(facts, fit))

    def step(bf16: bool) -> float:
        return seconds_of_step(built, loaded.batch(rows[:batch]), bf16)

    settings = dataclasses.replace(
        settings,
        batch_size=batch,
        learning_rate=settings.learning_rate or chosen_learning_rate(parameters),
        precision=settled_precision(settings, step),  # a session that goes on must not choose again
    )
    return Prepared(
        family_of(config), built.config, settings, loaded, built, tensors, _files(images)
    )


def _tokenizer(config: Any) -> Any:
    """The model of the run that a configuration's `tokens` names, if it names one.

    Raises UsageError where there is no such run, PinxitError where it is no tokenizer.
    """
    named = getattr(config, "tokens", None)
    if named is None:
        return None
    from pinxit.models.contract import require
    from pinxit.runs import Run

    return require(Run(Path(named)).load(), "tokenize")


def _files(images: Any) -> list[str]:
    """The files, where DATA is several: their source's text does not name them."""
    several = isinstance(images, list | tuple) and len(images) > 1
    return [str(file) for file in images] if several else []


def train(
    model: Any,
    images: Any,
    *,
    out: str | Path | None = None,
    reading: dict[str, Any] | None = None,
    quiet: bool = False,
    command: str | None = None,
    **settings: Any,
) -> Run:
    """Train a model and return its run folder.

    `model` is a family's configuration (`pinxit.VAE(latent_dim=64)`) or its name, `images` are
    `Images` or what DATA may be, `reading` options of `load_images`. The settings are those
    of `training.settings.Settings`: `minutes=5`, `steps=`, `epochs=`, ... With steps or epochs
    the weights are the same at each run, and a run that was killed and resumed has those of one
    that was not, bit for bit (same machine, same threads); with minutes the schedule follows the
    clock, which never runs alike.

    Raises UsageError for what cannot be, PinxitError where training fails.
    """
    from pinxit.models.contract import from_record
    from pinxit.training.schedule import Clock

    clock = Clock()
    chosen = from_record(Settings, settings)
    refuse_taken(out)
    reading = {"progress": not quiet, **(reading or {})}
    prepared = prepare(model, images, chosen, reading)
    from pinxit.training.devices import set_up_fabric

    fabric = set_up_fabric(prepared.settings)
    prepared = prepared.shared_by(fabric.world_size)
    run = create(prepared, out, reading, fabric, command)
    return run_session(run, prepared.images, prepared.settings, fabric, clock, quiet)


def resume(
    run: Run | str | Path, images: Any = None, *, quiet: bool = False, **settings: Any
) -> Run:
    """Go on with a run from its last checkpoint; `minutes`, `steps` or `epochs` change the budget.

    Other settings are changed for this session. The images are read again as they were, unless
    given. Raises UsageError for a run that is finished and no larger budget, or whose images
    have changed.
    """
    from pinxit.runs import Run
    from pinxit.training.resuming import reopened, settings_to_go_on
    from pinxit.training.schedule import Clock

    clock = Clock()
    run = run if isinstance(run, Run) else Run(Path(run))
    config, chosen = run.config, settings_to_go_on(run, settings)
    data = reopened(run, images, quiet)
    from pinxit.training.devices import set_up_fabric

    fabric = set_up_fabric(chosen)
    if fabric.is_global_zero:
        now = {**config["training"], **{b: getattr(chosen, b) for b in BUDGETS}}
        seen = {**config["data"], "fingerprint": data.fingerprint}
        if images is not None:
            seen |= {"source": data.source, "files": _files(images)}
        _written(run, {**config, "training": now, "data": seen, "finished": False})
    return run_session(Run(run.path), data, chosen, fabric, clock, quiet, resumed=True)


def refuse_taken(out: str | Path | None) -> None:
    """Raises UsageError where a folder to write a run to holds something already.

    PinxitError where that cannot be seen.
    """
    path = Path(out) if out else None
    try:
        if path is None or not path.exists() or (path.is_dir() and not any(path.iterdir())):
            return
    except OSError as error:
        raise PinxitError(f"cannot write to {path}: {error.strerror or error}.") from None
    if (path / "config.json").is_file():
        raise UsageError(
            f"{path} holds a run already and is never overwritten; "
            f"name another with --out, or go on with it: pinxit train --resume {path}"
        )
    raise UsageError(f"{path} is there already and is no run; name another folder with --out.")


def create(
    prepared: Prepared,
    out: str | Path | None,
    reading: dict[str, Any],
    fabric: Fabric,
    command: str | None = None,
) -> Run:
    """The run folder with its config.json, made by the first process for all.

    Raises UsageError for a folder that is taken, PinxitError for one that cannot be written.
    """
    from pinxit.runs import Run, free_name

    if not fabric.is_global_zero:
        return Run(Path(fabric.broadcast("")))
    refuse_taken(out)
    path = Path(out) if out else free_name(prepared.images.source, prepared.family)
    _written(Run(path), _config(prepared, reading, command), prepared.tensors)
    return Run(Path(fabric.broadcast(str(path))))


def _config(prepared: Prepared, reading: dict[str, Any], command: str | None) -> dict[str, Any]:
    """What config.json says when training begins."""
    from pinxit.runs import FORMAT

    images = prepared.images
    known = ("fit", "limit", "seed", "captions")
    kept = {k: reading[k] for k in known if reading.get(k) is not None}
    return {
        "format": FORMAT,
        "family": prepared.family,
        "model": dataclasses.asdict(prepared.config),
        "training": dataclasses.asdict(prepared.settings),
        "facts": prepared.model.facts.to_json(),
        "data": {"source": images.source, "fingerprint": images.fingerprint}
        | {"files": prepared.files, **kept},
        "versions": versions(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "finished": False,
    }


def _written(run: Run, config: dict[str, Any], tensors: dict[str, Any] | None = None) -> None:
    try:
        if tensors:
            from safetensors.torch import save

            run.write(run.prepared.name, save(tensors))
        run.write("config.json", config)
    except OSError as error:
        raise PinxitError(f"cannot write to {run.path}: {error.strerror or error}.") from None


def versions() -> dict[str, str]:
    """What a run was made with."""
    packages = {name: version(name) for name in ("pinxit", "torch", "numpy", "lightning-fabric")}
    return {**packages, "python": platform.python_version(), "machine": platform.machine()}


def run_session(
    run: Run,
    images: Images,
    settings: Settings,
    fabric: Fabric,
    clock: Clock,
    quiet: bool = False,
    resumed: bool = False,
) -> Run:
    """One session, then the card. Ctrl-C leaves a checkpoint and says how to go on."""
    from pinxit.runs import Run
    from pinxit.training.card import write_card
    from pinxit.training.session import Session

    session = Session(run, images, settings, fabric, clock, quiet)
    try:
        session.go(resumed)
        run = Run(run.path)
        if session.leads and not session.stopped:
            write_card(run)
    except OSError as error:
        raise PinxitError(
            f"cannot write to {run.path}: {error.strerror or error}. When it can be written again, "
            f"go on with: pinxit train --resume {run.path}"
        ) from None
    if session.stopped:
        if not session.leads:
            raise SystemExit(0)  # another code has the launcher kill the first process
        print(
            f"stopped at step {session.trainer.state.step:,}; "
            f"go on with: pinxit train --resume {run.path}",
            file=sys.stderr,
        )
        raise KeyboardInterrupt
    return run
