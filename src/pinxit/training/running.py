"""Run the sessions of a training: of one model, or of a component and then of its model."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from pinxit.console import echo, echo_wrapped
from pinxit.data.images import Images
from pinxit.errors import UsageError
from pinxit.models import build_model, get_family
from pinxit.models.config import config_from_dict
from pinxit.runs import Run
from pinxit.training.prepare import (
    TrainingData,
    TrainingPlan,
    check_augment_until,
    check_model_settings,
    choose_augment,
    prepare_training,
)
from pinxit.training.processes import (
    Processes,
    explain_lost_process,
    join_processes,
    report_run,
)
from pinxit.training.resume import rebuild_model
from pinxit.training.run_folder import complete_run, create_run, write_error
from pinxit.training.schedule import Clock
from pinxit.training.settings import TrainingSettings
from pinxit.training.stages import (
    Stages,
    component_path,
    is_component_trained,
    is_pending,
    second_config,
)

if TYPE_CHECKING:
    from pinxit.training.session import Session

NUM_CHECK_IMAGES = 16  # on which a model is built before its component is trained

OpenRun = Callable[
    [TrainingPlan, Processes], Run
]  # the plan and the processes to the run folder to write


def train_plan(plan: TrainingPlan, open_run: OpenRun, clock: Clock, *, quiet: bool) -> Run:
    """Train the model of a plan from its initial weights."""
    from pinxit.training.devices import set_up_fabric
    from pinxit.training.session import Session

    processes = join_processes(plan.settings)
    # what was measured, such as the precision, is that of the main process
    plan = dataclasses.replace(plan, settings=processes.broadcast(plan.settings))
    processes.together(lambda: check_batch_size(plan.settings, processes))
    fabric = set_up_fabric(plan.settings)
    if fabric.is_global_zero and not quiet:
        echo_wrapped(plan.summary())
    with processes.main_may_fail():
        run = open_run(plan, processes)
        processes.barrier()  # the main one holds the folder
    report_run(str(run.owner.path.absolute()))
    with explain_interrupt(run):
        session = Session(run, plan.model, plan.images, plan.settings, fabric, clock, quiet=quiet)
        return run_session(session)


def check_batch_size(settings: TrainingSettings, processes: Processes) -> None:
    """Raise UsageError if a batch has too few images for its parts."""
    parts = processes.world_size * settings.accumulate
    if settings.batch_size and settings.batch_size < parts:
        raise UsageError(
            f"a batch of {settings.batch_size} images cannot be divided into {parts} parts: as "
            "many as processes times --accumulate.\n"
            f"Give a --batch-size of at least {parts}, fewer --devices or a lower --accumulate."
        )


def train_stages(
    config: Any,
    data: TrainingData,
    stages: Stages,
    open_run: OpenRun,
    clock: Clock,
    *,
    quiet: bool,
) -> Run:
    """Train a component and then the model of `config` that contains it.

    `open_run` returns the folder of the component, which is in that of the model.
    """
    if not quiet:
        echo_wrapped(stages.describe())
    processes = join_processes(stages.first)
    plan = processes.together(
        lambda: prepare_training(
            stages.component.config, data, stages.first, is_component=True, quiet=quiet
        )
    )
    processes.together(lambda: check_second(config, data, stages, plan))
    component = train_plan(plan, open_run, clock, quiet=quiet)
    run = Run(component.path.parent)
    with explain_interrupt(run):
        return train_second(run, data, stages, quiet=quiet)


def check_second(config: Any, data: TrainingData, stages: Stages, first: TrainingPlan) -> None:
    """Build the model on a few images with its component, which is not trained yet.

    Raises UsageError for what it would refuse after the training of the component.
    """
    second, processes = stages.second, join_processes(stages.second)
    check_batch_size(second, processes)
    check_augment_until(choose_augment(config, data.images, second, quiet=True), first.settings)
    images, rows = data.images, data.images.split_indices("train")
    named = dataclasses.replace(config, **{stages.component.option: "trained first"})
    resolved = named.resolve(images.info(rows))
    with redirect_stderr(io.StringIO()):  # its notes are printed when it is built to be trained
        model, _ = build_model(resolved, images, _few_rows(images, rows), second.seed, first.model)
    check_model_settings(model, second)


def _few_rows(images: Images, rows: np.ndarray) -> np.ndarray:
    """Return a few of the rows, of images that have captions if there are any."""
    columns = images.captions.values()
    with_caption = (row for row in rows if any(column[row] for column in columns))
    few = list(islice(with_caption, NUM_CHECK_IMAGES))
    return np.array(few or rows[:NUM_CHECK_IMAGES])


def resume_stages(
    run: Run, data: TrainingData, stages: Stages, clock: Clock, *, quiet: bool
) -> Run:
    """Go on with a run whose component is not trained yet, or in part."""
    component = Run(component_path(run))
    if not (component.path / "config.json").is_file():

        def create(plan: TrainingPlan, processes: Processes) -> Run:
            return create_run(plan, component.path, processes)

        config = config_from_dict(get_family(run.family).Config, run.config["model"])
        return train_stages(config, data, stages, create, clock, quiet=quiet)
    if not is_component_trained(run):
        settings = stages.settings_to_resume(component)
        resume_session(component, data, settings, clock, quiet=quiet)
    return train_second(run, data, stages, quiet=quiet)


def train_second(run: Run, data: TrainingData, stages: Stages, *, quiet: bool) -> Run:
    """Train the model of a run whose component is trained."""
    clock = Clock()
    if not quiet:
        echo(f"stage 2 of 2: {run.family}")
    processes = join_processes(stages.second)
    plan = processes.together(
        lambda: prepare_training(
            second_config(run), data, stages.second, is_second=True, quiet=quiet
        )
    )

    def complete(plan: TrainingPlan, processes: Processes) -> Run:
        return complete_run(run, plan, processes)

    return train_plan(plan, complete, clock, quiet=quiet)


def resume_session(
    run: Run, data: TrainingData, settings: TrainingSettings, clock: Clock, *, quiet: bool
) -> Run:
    """Continue a run from its last checkpoint."""
    from pinxit.training.devices import set_up_fabric
    from pinxit.training.session import Session

    processes = join_processes(settings)
    processes.together(lambda: check_batch_size(settings, processes))
    fabric = set_up_fabric(settings)
    report_run(str(run.owner.path.absolute()))
    model = rebuild_model(run, settings.seed)
    processes.together(lambda: check_model_settings(model, settings))
    session = Session(run, model, data.images, settings, fabric, clock, quiet=quiet)
    return run_session(session, resumed=True)


def check_resumed(run: Run, settings: TrainingSettings, processes: Processes) -> None:
    """Raise UsageError, before anything is written, for settings that the run's model refuses."""
    if settings.accumulate * processes.world_size > 1 and not is_pending(run):
        check_model_settings(rebuild_model(run, settings.seed), settings)


def run_session(session: Session, resumed: bool = False) -> Run:
    """Run a session.

    Raises KeyboardInterrupt after Ctrl-C, with a text that says how to resume.
    """
    run = session.run_folder
    try:
        with explain_lost_process(lambda: f"Go on with: {run.resume_command}"):
            session.run(resumed)
    except OSError as error:
        raise write_error(run, error) from None
    if session.stopped:
        if not session.is_main:
            raise SystemExit(0)  # another exit code makes the launcher kill the first process
        step = session.state.counters.step
        raise KeyboardInterrupt(f"stopped at step {step:,}; continue with: {run.resume_command}")
    return Run(run.path)


@contextmanager
def explain_interrupt(run: Run) -> Iterator[None]:
    """Add to Ctrl-C, where no step can end first, the command that goes on with the run."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        if interrupt.args:
            raise
        raise KeyboardInterrupt(f"interrupted; continue with: {run.resume_command}") from None
