"""`train` and `resume`: from a model configuration and images to a run folder.

torch is imported inside the functions, after the arguments have been checked: a usage error is
reported at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from pinxit.console import echo, echo_wrapped, is_first_process
from pinxit.data.annotations import describe_annotations
from pinxit.data.atomic_write import remove_unfinished
from pinxit.data.home_folder import expand_home
from pinxit.data.images import Images
from pinxit.data.load_options import LoadOptions, check_no_options, make_load_options
from pinxit.models import family_of
from pinxit.models.components import Component, missing_component
from pinxit.models.config import make_config
from pinxit.models.option_effects import check_effects
from pinxit.runs import Run
from pinxit.training.accelerators import training_device
from pinxit.training.agreement import describe_training
from pinxit.training.expectations import describe_expectation
from pinxit.training.prepare import (
    TrainingData,
    TrainingPlan,
    choose_config,
    load_training_data,
    prepare_training,
)
from pinxit.training.processes import Processes, explain_lost_process, join_processes
from pinxit.training.restart import describe_request, find_changes, find_started
from pinxit.training.resume import reload_images, resolve_resume_settings
from pinxit.training.run_folder import (
    check_output_dir,
    create_pending_run,
    create_run,
    update_config,
)
from pinxit.training.run_lock import lock_run
from pinxit.training.running import (
    check_batch_size,
    check_resumed,
    explain_interrupt,
    resume_session,
    resume_stages,
    train_plan,
    train_stages,
)
from pinxit.training.schedule import Clock
from pinxit.training.settings import BUDGETS, TrainingSettings
from pinxit.training.signals import can_stop, request_stop
from pinxit.training.stages import Stages, component_path, is_pending, stages_of
from pinxit.watch.server import check_watch_port, watch_training
from pinxit.watch.state import WatchedTraining

if TYPE_CHECKING:
    from pinxit.data.load import Data
    from pinxit.training.dry_run import CostEstimate


@overload
def train(
    model: Any,
    images: Data,
    *,
    out: str | Path | None = None,
    load: LoadOptions | Mapping[str, Any] | None = None,
    overwrite: bool = False,
    resume_or_start: bool = False,
    dry_run: Literal[False] = False,
    quiet: bool = False,
    watch_port: int | None = None,
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
    resume_or_start: bool = False,
    dry_run: Literal[True],
    quiet: bool = False,
    watch_port: int | None = None,
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
    resume_or_start: bool = False,
    dry_run: bool = False,
    quiet: bool = False,
    watch_port: int | None = None,
    command: str | None = None,
    **settings: Any,
) -> Run | CostEstimate:
    """Train a model on images and return its run folder.

    Args:
        model: the configuration of a family (`pinxit.VAE(latent_dim=64)`), the family's name, or
            `auto`: chosen from the images
        images: `Images`, or anything that `load_images` accepts
        out: the run folder; default: a new folder `runs/<data>-<family>`
        load: options of `load_images`, as `LoadOptions` or a dict
        overwrite: replace the run in `out`; a folder that is not a run is never replaced
        resume_or_start: go on with the run in `out` if there is one, so that the same call can be
            made again after a kill at any moment; a finished run is returned as it is
        dry_run: time a few steps, write nothing and return a `CostEstimate`
        quiet: print nothing, but the address of `watch_port`
        watch_port: show the training on a page at this port of 127.0.0.1, until it ends; 0: a free
            port; the address is printed
        command: the command line to record in config.json
        settings: fields of `TrainingSettings`, such as `minutes=5`, `steps=...` or `epochs=...`;
            for `pinxit.train` also fields of `LoadOptions`, such as `size=64`, and, if `model` is
            the name of a family, of its configuration; `config`, a settings file (TOML) with
            options and, if they are not given, model and images; `save_config`, where to write what
            is given as such a file; `report=True` writes report.html at the end

    With a budget of steps or epochs the weights are reproducible, bit for bit, on the same machine
    with the same number of threads, even if the run is killed and resumed. With a budget of minutes
    the learning rate follows the clock, so that two runs differ.

    Raises UsageError for invalid arguments, PinxitError if training fails or if the port is in use.
    """
    with explain_lost_process(lambda: "Start the same command again."):
        return _train(
            model, images, expand_home(out) if out else out, load, settings,
            overwrite=overwrite, resume_or_start=resume_or_start, dry_run=dry_run, quiet=quiet,
            watch_port=watch_port,
            command=command,
        )  # fmt: skip


def _train(
    model: Any,
    images: Data,
    out: str | Path | None,
    load: LoadOptions | Mapping[str, Any] | None,
    settings: Mapping[str, Any],
    *,
    overwrite: bool,
    resume_or_start: bool,
    dry_run: bool,
    quiet: bool,
    watch_port: int | None,
    command: str | None,
) -> Run | CostEstimate:
    clock = Clock()
    check_watch_port(watch_port)
    training_settings = make_config(TrainingSettings, settings)
    options = make_load_options(load)
    if isinstance(images, Images):
        check_no_options(options)
    request = describe_request(model, images, training_settings, options)
    processes = join_processes(training_settings)
    if resume_or_start and not dry_run:
        with processes.main_may_fail():  # on a shared disk others may see the folder later
            started = None
            if processes.is_global_zero:
                started = find_started(out, images, request, overwrite)
            path = processes.broadcast(started and started.path)
        if path is not None:
            return _go_on(Run(path), images, request, quiet, watch_port)
    if not dry_run:
        with processes.main_may_fail():
            _check_output_dir(processes, out, overwrite)
    quiet = quiet or not is_first_process()
    if dry_run and watch_port is not None and not quiet:
        echo("a dry run trains nothing: there is no page to watch")
    with ExitStack() as held:
        watched = _watch(None if dry_run else watch_port, processes, held)
        data = processes.each(
            lambda: load_training_data(images, options, training_settings.seed, progress=not quiet)
        )
        data = data._replace(requested=request)
        config = processes.together(lambda: choose_config(model, data.images, quiet=quiet))
        processes.check_agreement(describe_training(data, training_settings, config))
        info = data.images.info(data.images.split_indices("train"))
        component = processes.together(lambda: missing_component(config, info))
        stages = None if component is None else Stages.of(component, training_settings)
        processes.together(lambda: check_effects(_name_component(config, component), info))
        if not quiet:
            echo(describe_annotations(data.images))
            if expectation := describe_expectation(family_of(config), info.num_images):
                echo(expectation)
        if dry_run:
            return _estimate(config, data, training_settings, stages, quiet)

        def create(plan: TrainingPlan, processes: Processes) -> Run:
            run = create_run(plan, out, processes, overwrite=overwrite, command=command)
            return _hold(run, held, watched)

        if stages is None:
            plan = processes.together(
                lambda: prepare_training(config, data, training_settings, quiet=quiet)
            )
            return train_plan(plan, create, clock, quiet=quiet)

        def create_both(plan: TrainingPlan, processes: Processes) -> Run:
            run = create_pending_run(
                config, stages, training_settings, data, info, out, processes,
                overwrite=overwrite, command=command,
            )  # fmt: skip
            _hold(run, held, watched)
            return create_run(plan, component_path(run), processes, command=command)

        return train_stages(config, data, stages, create_both, clock, quiet=quiet)


def _name_component(config: Any, component: Component | None) -> Any:
    """Return the configuration as it will be once its component is trained."""
    if component is None:
        return config
    return dataclasses.replace(config, **{component.option: "trained first"})


def _watch(port: int | None, processes: Processes, held: ExitStack) -> WatchedTraining:
    """Show the training at a port of the main process until the stack is left.

    The page's Stop button stops it. Raises PinxitError, in the main process, for a port in use.
    """
    own_port = port if processes.is_global_zero else None
    page = watch_training(own_port, can_stop=can_stop, request_stop=request_stop)
    if port is None:
        return held.enter_context(page)
    with processes.main_may_fail():
        watched = held.enter_context(page)
        processes.barrier()
    return watched


def _go_on(
    run: Run, images: Data, request: dict[str, Any], quiet: bool, watch_port: int | None
) -> Run:
    """Resume a run that was started by the same call, if it is not finished."""
    changes = find_changes(run, request)
    if run.config["finished"] and not changes.keys() & set(BUDGETS):
        if not quiet and is_first_process():
            echo(f"{run.path} is finished already")
        return run
    own_images = images if isinstance(images, Images) else None
    return resume(run, own_images, quiet=quiet, watch_port=watch_port, **changes)


def _check_output_dir(processes: Processes, out: str | Path | None, overwrite: bool) -> None:
    """Check in the main process, for all, that a new run may be written."""
    if processes.is_global_zero:
        check_output_dir(out, overwrite)
    processes.broadcast(None)


def _hold(run: Run, held: ExitStack, watched: WatchedTraining) -> Run:
    """Lock a run in the first process until the stack is left, show it, and return it."""
    if is_first_process():
        held.enter_context(lock_run(run))
        watched.show(run)
    return run


def _estimate(
    config: Any,
    data: TrainingData,
    settings: TrainingSettings,
    stages: Stages | None,
    quiet: bool,
) -> CostEstimate:
    """Time a few steps of a model; of one with a component that is trained first, of both."""
    from pinxit.training.devices import set_up_fabric
    from pinxit.training.dry_run import estimate_cost

    first = component = None
    if stages is not None:
        first = prepare_training(
            stages.component.config, data, stages.first, is_component=True, quiet=True
        )
        component, settings = first.model, stages.second
        config = _name_component(config, stages.component)
    plan = prepare_training(config, data, settings, component, quiet=quiet)
    fabric = set_up_fabric(plan.settings)
    if not quiet:
        echo_wrapped(plan.summary())
    before = None if first is None else estimate_cost(first, fabric)
    return dataclasses.replace(estimate_cost(plan, fabric), first_stage=before)


def resume(
    run: Run | str | Path,
    images: Data | None = None,
    *,
    quiet: bool = False,
    watch_port: int | None = None,
    **settings: Any,
) -> Run:
    """Continue a run from its last checkpoint and return it.

    `minutes`, `steps` or `epochs` replace the budget; other settings apply to this session only.
    Images are loaded again as the run recorded them, unless `images` is given. `watch_port` shows
    the training on a page, as in `train`. Raises UsageError if the run has spent its budget, or if
    its images have changed; PinxitError if the port is in use.
    """
    run = run if isinstance(run, Run) else Run(Path(run))
    with explain_lost_process(lambda: f"Go on with: {run.resume_command}"):
        return _resume(run, images, settings, quiet=quiet, watch_port=watch_port)


def _resume(
    run: Run, images: Data | None, settings: dict[str, Any], *, quiet: bool, watch_port: int | None
) -> Run:
    clock = Clock()
    check_watch_port(watch_port)
    training_settings = resolve_resume_settings(run, settings)
    processes = join_processes(training_settings)
    processes.together(lambda: check_batch_size(training_settings, processes))
    training_device(training_settings)  # before anything is written: raises if there is none
    quiet = quiet or not is_first_process()
    with ExitStack() as held:
        watched = _watch(watch_port, processes, held)
        data = TrainingData(
            images=processes.each(lambda: reload_images(run, images, progress=not quiet)),
            load=run.load_options,
            files=run.config["data"].get("files") or [],
        )
        processes.check_agreement(describe_training(data, training_settings, run.config["model"]))
        processes.together(lambda: check_resumed(run, training_settings, processes))
        if not quiet:
            echo(describe_annotations(data.images))
        held.enter_context(explain_interrupt(run))
        with processes.main_may_fail():
            # as it is now that no other process writes it
            run = Run(_hold(run, held, watched).path)
            training_settings = resolve_resume_settings(run, settings)
            if processes.is_global_zero:
                remove_unfinished(run.path)
                update_config(run, training_settings, data.images, images)
            processes.broadcast(None)
        run = Run(run.path)
        if is_pending(run):
            stages = stages_of(run, training_settings)
            return resume_stages(run, data, stages, clock, quiet=quiet)
        return resume_session(run, data, training_settings, clock, quiet=quiet)
