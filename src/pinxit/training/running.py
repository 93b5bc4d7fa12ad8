"""Run the sessions of a training: of one model, or of a component and then of its model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pinxit.console import echo, echo_wrapped
from pinxit.errors import PinxitError
from pinxit.runs import Run
from pinxit.training.model_card import write_model_card
from pinxit.training.prepare import TrainingData, TrainingPlan, prepare_training
from pinxit.training.resume import rebuild_model
from pinxit.training.run_folder import complete_run, create_run
from pinxit.training.schedule import Clock
from pinxit.training.settings import TrainingSettings
from pinxit.training.stages import Stages, component_path, owner_of, second_config

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from pinxit.training.session import Session

OpenRun = Callable[[TrainingPlan, Any], Run]  # the plan and Fabric to the run folder to write


def train_plan(plan: TrainingPlan, open_run: OpenRun, clock: Clock, *, quiet: bool) -> Run:
    """Train the model of a plan from its initial weights."""
    from pinxit.training.devices import set_up_fabric
    from pinxit.training.session import Session

    fabric = set_up_fabric(plan.settings)
    plan = plan.with_world_size(fabric.world_size)
    if fabric.is_global_zero and not quiet:
        echo_wrapped(plan.summary())
    run = open_run(plan, fabric)
    session = Session(run, plan.model, plan.images, plan.settings, fabric, clock, quiet=quiet)
    return run_session(session)


def train_stages(
    data: TrainingData, stages: Stages, open_run: OpenRun, clock: Clock, *, quiet: bool
) -> Run:
    """Train a component and then the model that contains it.

    `open_run` returns the folder of the component, which is in that of the model.
    """
    if not quiet:
        echo_wrapped(stages.describe())
    plan = prepare_training(stages.component.config, data, stages.first, quiet=quiet)
    component = train_plan(plan, open_run, clock, quiet=quiet)
    return train_second(Run(component.path.parent), data, stages, quiet=quiet)


def resume_stages(
    run: Run, data: TrainingData, stages: Stages, clock: Clock, *, quiet: bool
) -> Run:
    """Go on with a run whose component is not trained yet, or in part."""
    component = Run(component_path(run))
    if not (component.path / "config.json").is_file():

        def create(plan: TrainingPlan, fabric: Fabric) -> Run:
            return create_run(plan, component.path, fabric)

        return train_stages(data, stages, create, clock, quiet=quiet)
    if not component.config.get("finished"):
        settings = stages.settings_to_resume(component)
        resume_session(component, data, settings, clock, quiet=quiet)
    return train_second(run, data, stages, quiet=quiet)


def train_second(run: Run, data: TrainingData, stages: Stages, *, quiet: bool) -> Run:
    """Train the model of a run whose component is trained."""
    clock = Clock()
    if not quiet:
        echo(f"stage 2 of 2: {run.family}")
    component = Run(component_path(run))
    augment = tuple(component.config["training"]["augment"])  # as it was chosen
    settings = dataclasses.replace(stages.second, augment=augment)
    plan = prepare_training(second_config(run), data, settings, quiet=quiet)

    def complete(plan: TrainingPlan, fabric: Fabric) -> Run:
        return complete_run(run, plan, fabric)

    return train_plan(plan, complete, clock, quiet=quiet)


def resume_session(
    run: Run, data: TrainingData, settings: TrainingSettings, clock: Clock, *, quiet: bool
) -> Run:
    """Continue a run from its last checkpoint."""
    from pinxit.training.devices import set_up_fabric
    from pinxit.training.session import Session

    fabric = set_up_fabric(settings)
    model = rebuild_model(run, settings.seed)
    session = Session(run, model, data.images, settings, fabric, clock, quiet=quiet)
    return run_session(session, resumed=True)


def run_session(session: Session, resumed: bool = False) -> Run:
    """Run a session and write the model card.

    Raises KeyboardInterrupt after Ctrl-C, with a text that says how to resume.
    """
    path = session.run_folder.path
    resume_command = f"pinxit train --resume {owner_of(session.run_folder).shell_path}"
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
