"""`train` and `resume`: from a model configuration and images to a run folder.

torch is imported inside the functions, after the arguments have been checked: a usage error is
reported at once, and the import counts towards a budget of minutes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from pinxit.console import echo, echo_wrapped
from pinxit.data.annotations import describe_annotations
from pinxit.data.load_options import LoadOptions, make_load_options
from pinxit.errors import PinxitError
from pinxit.models.config import config_from_dict
from pinxit.runs import Run
from pinxit.training.model_card import write_model_card
from pinxit.training.prepare import prepare_training
from pinxit.training.resume import rebuild_model, reload_images, resolve_resume_settings
from pinxit.training.run_folder import check_output_dir, create_run, update_config
from pinxit.training.schedule import Clock
from pinxit.training.settings import TrainingSettings

if TYPE_CHECKING:
    from pinxit.data.load import Data
    from pinxit.training.dry_run import CostEstimate
    from pinxit.training.session import Session


@overload
def train(
    model: Any,
    images: Data,
    *,
    out: str | Path | None = None,
    load: LoadOptions | Mapping[str, Any] | None = None,
    overwrite: bool = False,
    dry_run: Literal[False] = False,
    quiet: bool = False,
    command: str | None = None,
    **settings: Any,
) -> Run: ...


@overload
def train(
    model: Any,
    images: Data,
    *,
    out: str | Path | None = None,
    load: LoadOptions | Mapping[str, Any] | None = None,
    overwrite: bool = False,
    dry_run: Literal[True],
    quiet: bool = False,
    command: str | None = None,
    **settings: Any,
) -> CostEstimate: ...


def train(
    model: Any,
    images: Data,
    *,
    out: str | Path | None = None,
    load: LoadOptions | Mapping[str, Any] | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
    quiet: bool = False,
    command: str | None = None,
    **settings: Any,
) -> Run | CostEstimate:
    """Train a model on images and return its run folder.

    Args:
        model: the configuration of a family (`pinxit.VAE(latent_dim=64)`) or the family's name
        images: `Images`, or anything that `load_images` accepts
        out: the run folder; default: a new folder `runs/<data>-<family>`
        load: options of `load_images`, as `LoadOptions` or a dict
        overwrite: replace the run in `out`; a folder that is not a run is never replaced
        dry_run: time a few steps, write nothing and return a `CostEstimate`
        quiet: print nothing
        command: the command line to record in config.json
        settings: fields of `TrainingSettings`, such as `minutes=5`, `steps=...` or `epochs=...`

    With a budget of steps or epochs the weights are reproducible, bit for bit, on the same machine
    with the same number of threads, even if the run is killed and resumed. With a budget of minutes
    the learning rate follows the clock, so that two runs differ.

    Raises UsageError for invalid arguments, PinxitError if training fails.
    """
    clock = Clock()
    training_settings = config_from_dict(TrainingSettings, settings)
    options = make_load_options(load)
    if not dry_run:
        check_output_dir(out, overwrite)
    plan = prepare_training(model, images, training_settings, options, progress=not quiet)
    from pinxit.training.devices import set_up_fabric
    from pinxit.training.session import Session

    fabric = set_up_fabric(plan.settings)
    plan = plan.with_world_size(fabric.world_size)
    if fabric.is_global_zero and not quiet:
        echo(describe_annotations(plan.images))
        echo_wrapped(plan.summary())
    if dry_run:
        from pinxit.training.dry_run import estimate_cost

        return estimate_cost(plan, fabric)
    run = create_run(plan, out, fabric, overwrite=overwrite, command=command)
    return _run_session(
        Session(run, plan.model, plan.images, plan.settings, fabric, clock, quiet=quiet)
    )


def resume(
    run: Run | str | Path, images: Data | None = None, *, quiet: bool = False, **settings: Any
) -> Run:
    """Continue a run from its last checkpoint and return it.

    `minutes`, `steps` or `epochs` replace the budget; other settings apply to this session only.
    Images are loaded again as the run recorded them, unless `images` is given. Raises UsageError if
    the run has spent its budget, or if its images have changed.
    """
    clock = Clock()
    run = run if isinstance(run, Run) else Run(Path(run))
    training_settings = resolve_resume_settings(run, settings)
    data = reload_images(run, images, progress=not quiet)
    from pinxit.training.devices import set_up_fabric
    from pinxit.training.session import Session

    fabric = set_up_fabric(training_settings)
    if fabric.is_global_zero and not quiet:
        echo(describe_annotations(data))
    if fabric.is_global_zero:
        update_config(run, training_settings, data, images)
    run = Run(run.path)
    model = rebuild_model(run, training_settings.seed)
    session = Session(run, model, data, training_settings, fabric, clock, quiet=quiet)
    return _run_session(session, resumed=True)


def _run_session(session: Session, resumed: bool = False) -> Run:
    """Run a session and write the model card.

    Raises KeyboardInterrupt after Ctrl-C, with a text that says how to resume.
    """
    path = session.run_folder.path
    resume_command = f"pinxit train --resume {session.run_folder.shell_path}"
    try:
        session.run(resumed)
        run = Run(path)
        if session.is_main and not session.stopped:
            write_model_card(run)
    except OSError as error:
        raise PinxitError(
            f"cannot write to {path}: {error.strerror or error}.\n"
            f"Free some space or fix its permissions, then: {resume_command}"
        ) from None
    if session.stopped:
        if not session.is_main:
            raise SystemExit(0)  # another exit code makes the launcher kill the first process
        step = session.state.counters.step
        raise KeyboardInterrupt(f"stopped at step {step:,}; continue with: {resume_command}")
    return run
