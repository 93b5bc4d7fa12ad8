"""Training: a visible loop, and the session that runs it.

`train` makes a run from a family's configuration and pictures; `resume` goes on with one.
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
from pinxit.training.settings import Settings, chosen_batch, chosen_learning_rate

if TYPE_CHECKING:
    from pinxit.data.pictures import Pictures
    from pinxit.runs import Run


@dataclass(frozen=True)
class Prepared:
    """All that a training needs, with every choice made."""

    family: str
    config: Any
    settings: Settings
    pictures: Pictures
    model: Any


def prepare(
    model: Any, pictures: Any, settings: Settings, reading: dict[str, Any] | None = None
) -> Prepared:
    """Open the pictures and make every open choice.

    `model` is a family's name or its `Config`, `pictures` are `Pictures` or what DATA may be,
    `reading` are options of `load_pictures`. Raises UsageError for what cannot be.
    """
    from pinxit.data.load import load_pictures
    from pinxit.models import family, family_of

    config = family(model).Config() if isinstance(model, str) else model
    module = family(family_of(config))
    loaded = load_pictures(pictures, **(reading or {}))
    facts = loaded.facts(loaded.rows_of("train"))
    config = config.resolve(facts)
    import torch

    from pinxit.models.blocks import mix

    torch.manual_seed(mix(settings.seed, -1))
    built = module.build(config, facts)
    parameters = sum(p.numel() for p in built.parameters())
    settings = dataclasses.replace(
        settings,
        batch_size=min(facts.count, settings.batch_size or chosen_batch(facts)),
        learning_rate=settings.learning_rate or chosen_learning_rate(parameters),
    )
    return Prepared(family_of(config), config, settings, loaded, built)


def train(
    model: Any,
    pictures: Any,
    *,
    out: str | Path | None = None,
    reading: dict[str, Any] | None = None,
    quiet: bool = False,
    command: str | None = None,
    clock: Any = None,
    **settings: Any,
) -> Run:
    """Train a model and return its run folder.

    `model` is a family's configuration (`pinxit.VAE(latent_dim=64)`) or its name, `pictures` are
    `Pictures` or what DATA may be. The settings are those of `training.settings.Settings`:
    `minutes=5`, `steps=`, `epochs=`, ... With steps or epochs the weights are the same at each
    run, and a run that was killed and resumed has those of one that was not, bit for bit (same
    machine, same threads); with minutes the schedule follows the clock, which never runs alike.

    Raises UsageError for what cannot be, PinxitError where training fails.
    """
    from pinxit.training.schedule import Clock

    clock = clock or Clock()
    prepared = prepare(model, pictures, Settings(**settings), reading)
    run = create(prepared, out, reading or {}, command)
    return run_session(run, prepared.pictures, prepared.settings, clock, quiet, resumed=False)


def resume(
    run: Any, pictures: Any = None, *, quiet: bool = False, clock: Any = None, **settings: Any
) -> Run:
    """Go on with a run from its last checkpoint; `minutes`, `steps` or `epochs` change the budget.

    The pictures are read again as they were, unless given. Raises UsageError for a run that is
    finished and no larger budget, or whose pictures have changed.
    """
    from pinxit.models.contract import from_record
    from pinxit.runs import Run
    from pinxit.training.schedule import Clock

    clock = clock or Clock()
    run = run if isinstance(run, Run) else Run(Path(run))
    config = run.config
    kept = {**config["training"], **{k: v for k, v in settings.items() if v is not None}}
    budget = [b for b in ("minutes", "steps", "epochs") if settings.get(b)]
    if budget:
        kept |= {b: None for b in ("minutes", "steps", "epochs") if b not in budget}
    elif config.get("finished"):
        raise UsageError(
            f"{run.path} is finished; to train it further give a larger budget: "
            f"pinxit train --resume {run.path} --epochs N (or --minutes, --steps)."
        )
    data = _reopened(run, pictures)
    if budget:
        run.write("config.json", {**config, "training": kept, "finished": False})
    run = Run(run.path)
    return run_session(run, data, from_record(Settings, kept), clock, quiet, resumed=True)


def _reopened(run: Run, pictures: Any) -> Pictures:
    """The run's pictures once more, held against the fingerprint of those that it began with."""
    from pinxit.data.load import load_pictures

    record, facts = run.config["data"], run.facts
    if pictures is None and not record["source"]:
        raise UsageError(f"{run.path} learned from pictures given in Python; give them again.")
    reading = {k: record[k] for k in ("fit", "limit", "seed") if record.get(k) is not None}
    loaded = load_pictures(
        pictures if pictures is not None else record["source"],
        size=(facts.height, facts.width),
        color="grey" if facts.channels == 1 else "rgb",
        **reading,
    )
    if loaded.fingerprint != record["fingerprint"] and pictures is None:
        raise UsageError(
            f"the pictures of {record['source']} have changed since {run.path} began.\n"
            "Go on with them as they are now by --data, or train anew."
        )
    return loaded


def create(
    prepared: Prepared, out: str | Path | None, reading: dict[str, Any], command: str | None = None
) -> Run:
    """The run folder with its config.json. A folder that holds a run is never overwritten."""
    from pinxit.runs import FORMAT, Run, free_name

    pictures, settings = prepared.pictures, prepared.settings
    path = Path(out) if out else free_name(pictures.source or "pictures", prepared.family)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UsageError(
            f"{path} is there already and is never overwritten; "
            f"name another with --out, or go on with it: pinxit train --resume {path}"
        )
    kept = {k: reading[k] for k in ("fit", "limit", "seed") if reading.get(k) is not None}
    config = {
        "format": FORMAT,
        "family": prepared.family,
        "model": dataclasses.asdict(prepared.config),
        "training": dataclasses.asdict(settings),
        "facts": pictures.facts(pictures.rows_of("train")).to_json(),
        "data": {"source": pictures.source, "fingerprint": pictures.fingerprint, **kept},
        "versions": versions(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "finished": False,
    }
    run = Run(path)
    try:
        run.write("config.json", config)
    except OSError as error:
        raise PinxitError(f"cannot write to {path}: {error.strerror}.") from None
    return run


def versions() -> dict[str, str]:
    """What a run was made with."""
    packages = {name: version(name) for name in ("pinxit", "torch", "numpy", "lightning-fabric")}
    return {**packages, "python": platform.python_version(), "machine": platform.machine()}


def run_session(
    run: Run,
    pictures: Pictures,
    settings: Settings,
    clock: Any,
    quiet: bool = False,
    resumed: bool = False,
) -> Run:
    """One session, then the card. Ctrl-C leaves a checkpoint and says how to go on."""
    from pinxit.runs import Run
    from pinxit.training.card import write_card
    from pinxit.training.session import Session, set_up_fabric

    session = Session(run, pictures, settings, set_up_fabric(settings), clock, quiet)
    try:
        session.go(resumed)
    except OSError as error:
        raise PinxitError(f"cannot write to {run.path}: {error.strerror or error}.") from None
    run = Run(run.path)
    if session.stopped:
        print(
            f"stopped at step {session.trainer.state.step:,}; "
            f"go on with: pinxit train --resume {run.path}",
            file=sys.stderr,
        )
        raise KeyboardInterrupt
    if session.leads:
        write_card(run)
    return run
