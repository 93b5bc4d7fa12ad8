"""`train` and `resume`: from a model configuration and images to a run folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pinxit.errors import PinxitError
from pinxit.training.settings import BUDGETS, TrainingSettings

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from pinxit.data.images import Images
    from pinxit.runs import Run
    from pinxit.training.schedule import Clock
from pinxit.training.prepare import _files, prepare_training
from pinxit.training.run_folder import _written, check_output_dir, create_run


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
    of `training.settings.TrainingSettings`: `minutes=5`, `steps=`, `epochs=`, ... With steps or
    epochs the weights are the same at each run, and a run that was killed and resumed has the
    weights of one that was not, bit for bit (same machine, same number of threads). With minutes
    the schedule follows the clock, so two runs differ.

    Raises UsageError for what cannot be, PinxitError where training fails.
    """
    from pinxit.models.config import config_from_dict
    from pinxit.training.schedule import Clock

    clock = Clock()
    chosen = config_from_dict(TrainingSettings, settings)
    check_output_dir(out)
    reading = {"progress": not quiet, **(reading or {})}
    prepared = prepare_training(model, images, chosen, reading)
    from pinxit.training.devices import set_up_fabric

    fabric = set_up_fabric(prepared.settings)
    prepared = prepared.with_world_size(fabric.world_size)
    run = create_run(prepared, out, reading, fabric, command)
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
    from pinxit.training.resume import reopened, settings_to_go_on
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


def run_session(
    run: Run,
    images: Images,
    settings: TrainingSettings,
    fabric: Fabric,
    clock: Clock,
    quiet: bool = False,
    resumed: bool = False,
) -> Run:
    """One session, then the card. Ctrl-C leaves a checkpoint and says how to go on."""
    from pinxit.runs import Run
    from pinxit.training.model_card import write_card
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
