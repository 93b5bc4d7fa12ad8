"""Create a run folder and write its config.json."""

from __future__ import annotations

import dataclasses
import glob
import os
import platform
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pinxit.data.atomic_write import is_unfinished, remove_unfinished
from pinxit.data.typed_json import decode_json
from pinxit.errors import PinxitError, UsageError
from pinxit.models import family_of
from pinxit.runs import FITTED_FILE, FORMAT, Run, default_run_path
from pinxit.training.prepare import TrainingData, TrainingPlan, list_files
from pinxit.training.processes import Processes
from pinxit.training.run_lock import LOCK_FILE, OWNER_FILE, SOFT_LOCK_FILE, lock_run
from pinxit.training.settings import TrainingSettings
from pinxit.training.stages import (
    Stages,
    budget_of,
    component_record,
    describe_component,
    is_component_trained,
    is_pending,
    stages_of,
)

if TYPE_CHECKING:
    from pinxit.data.batch import DatasetInfo
    from pinxit.data.images import Images
    from pinxit.data.load import Data

PACKAGES = ("pinxit", "torch", "numpy", "lightning-fabric")  # whose versions config.json records


def check_output_dir(out: str | Path | None, overwrite: bool = False) -> None:
    """Raise UsageError if a new run must not be written to `out`.

    A missing or empty folder is free; a run folder is free with `overwrite`. PinxitError if the
    folder cannot be inspected.
    """
    path = Path(out) if out else None
    try:
        if path is None or not path.exists() or (path.is_dir() and _is_empty(path)):
            return
    except OSError as error:
        raise PinxitError(f"cannot write to {path}: {error.strerror or error}.") from None
    if not is_run_folder(path):
        raise UsageError(f"{path} exists and is not a run folder; choose another --out.")
    if not overwrite:
        raise UsageError(
            f"{path} already holds a run; choose another --out, or replace it with --overwrite.\n"
            f"To continue that run: {Run(path).resume_command}"
        )


def _is_empty(folder: Path) -> bool:
    """Return whether a folder holds nothing, or what a process left that was killed at its start.

    Such a process wrote no config.json yet: there are unfinished and fitted tensors at most.
    """
    left = {FITTED_FILE, LOCK_FILE, SOFT_LOCK_FILE, OWNER_FILE}
    names = (file.name for file in folder.iterdir())
    return all(name in left or is_unfinished(name) for name in names)


def is_run_folder(path: Path) -> bool:
    """Return whether the folder has the config.json of a run, of any format."""
    try:
        record = decode_json((path / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(record, dict) and {"format", "family"} <= record.keys()


def create_run(
    plan: TrainingPlan,
    out: str | Path | None,
    processes: Processes,
    *,
    overwrite: bool = False,
    command: str | None = None,
) -> Run:
    """Create the run folder with its config.json, in the first process for all.

    Raises UsageError if the folder is taken, PinxitError if it cannot be written, or if another
    process trains in it.
    """
    if not processes.is_global_zero:
        return Run(Path(processes.broadcast("")))
    check_output_dir(out, overwrite)
    path = Path(out) if out else default_run_path(plan.images.source, plan.family)
    record = {**_describe_data(plan.data, command), **_describe_model(plan)}
    _write_new_run(path, record, plan.fitted)
    return Run(Path(processes.broadcast(str(path))))


def create_pending_run(
    config: Any,
    stages: Stages,
    settings: TrainingSettings,
    data: TrainingData,
    info: DatasetInfo,
    out: str | Path | None,
    processes: Processes,
    *,
    overwrite: bool = False,
    command: str | None = None,
) -> Run:
    """Create the folder of a run whose component is trained first.

    Raises UsageError and PinxitError as `create_run` does.
    """
    if not processes.is_global_zero:
        return Run(Path(processes.broadcast("")))
    check_output_dir(out, overwrite)
    family = family_of(config)
    path = Path(out) if out else default_run_path(data.images.source, family)
    record = {
        **_describe_data(data, command),
        "family": family,
        "model": dataclasses.asdict(config),
        "training": dataclasses.asdict(settings),
        "dataset_info": info.to_json(),
        "component": describe_component(stages.component, settings),
    }
    _write_new_run(path, record)
    return Run(Path(processes.broadcast(str(path))))


def complete_run(run: Run, plan: TrainingPlan, processes: Processes) -> Run:
    """Record the model of a run whose component is trained, in the first process for all.

    Raises PinxitError if config.json cannot be written.
    """
    if processes.is_global_zero:
        component = {**component_record(run), "pending": False}
        record = {**run.config, **_describe_model(plan), "component": component}
        try:
            _write_run(run, record, plan.fitted)
        except OSError as error:
            raise write_error(run, error) from None
    processes.barrier()
    return Run(run.path)


def update_config(run: Run, settings: TrainingSettings, images: Images, given: Data | None) -> None:
    """Record the budget, the kept weights and the images of a resumed session.

    `given` is what replaced the data. Raises PinxitError if config.json cannot be written.
    """
    data = {**run.config["data"], "fingerprint": images.fingerprint}
    if given is not None:
        data |= {"source": images.source, "files": list_files(given)}
    training = {**run.config["training"], **budget_of(settings), "keep": settings.keep}
    config = {**run.config, "training": training, "data": data, "finished": False}
    if is_pending(run) and not is_component_trained(run):
        budget = budget_of(stages_of(run, settings).first)
        config["component"] = {**component_record(run), "budget": budget}
    try:
        _write_run(run, config)
    except OSError as error:
        raise write_error(run, error) from None


def write_error(run: Run, error: OSError) -> PinxitError:
    """Return the error of a run that cannot be written, with the command that goes on with it."""
    return PinxitError(
        f"cannot write to {run.path}: {error.strerror or error}.\n"
        f"Free some space or fix its permissions, then: {run.resume_command}"
    )


def versions(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Return the versions of packages and of Python, and the machine's architecture."""
    python = {"python": platform.python_version(), "machine": platform.machine()}
    return {**{name: version(name) for name in packages}, **python}


def _describe_data(data: TrainingData, command: str | None) -> dict[str, Any]:
    """Return what config.json says of a new run and its data."""
    return {
        "format": FORMAT,
        "data": {
            "source": data.images.source,
            "files": data.files,
            "fingerprint": data.images.fingerprint,
            "options": data.load.to_json(),
        },
        "versions": versions(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "requested": data.requested,
        "finished": False,
    }


def _describe_model(plan: TrainingPlan) -> dict[str, Any]:
    """Return what config.json says of the model and its training."""
    return {
        "family": plan.family,
        "model": dataclasses.asdict(plan.config),
        "training": dataclasses.asdict(plan.settings),
        "dataset_info": plan.model.info.to_json(),
    }


def _write_new_run(
    path: Path, config: dict[str, Any], fitted: dict[str, Any] | None = None
) -> None:
    """Write a new run folder, in the place of an old one if there is one.

    A new folder is written beside and renamed, so that a kill at any moment leaves none, or one
    that training goes on with. Raises PinxitError if it cannot be written.
    """
    run = Run(path)
    try:
        if is_run_folder(path):
            with lock_run(run):
                _replace_run(path.resolve(), config, fitted)
        elif os.path.lexists(path):  # empty: perhaps a mount point, which cannot be replaced
            remove_unfinished(path)
            _write_run(run, config, fitted)
        else:
            _write_beside(path, config, fitted)
    except OSError as error:
        if run.owner is not run:
            raise write_error(run, error) from None
        raise PinxitError(f"cannot write to {path}: {error.strerror or error}.") from None


def _write_run(run: Run, config: Mapping[str, Any], fitted: dict[str, Any] | None = None) -> None:
    """Write config.json, and before it the fitted tensors, if there are any."""
    if fitted:
        from safetensors.torch import save

        run.write(FITTED_FILE, save(fitted))
    run.write("config.json", config)


def _write_beside(path: Path, config: dict[str, Any], fitted: dict[str, Any] | None) -> None:
    """Write a run folder under another name, and give it its own once it is complete.

    Raises UsageError if another process was faster.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(path.parent, path.name)
    temporary = Run(
        Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
    )
    try:
        temporary.path.chmod(0o777 & ~_umask())  # mkdtemp's folder is the user's alone
        with lock_run(temporary):
            _write_run(temporary, config, fitted)
        for name in (LOCK_FILE, SOFT_LOCK_FILE):
            (temporary.path / name).unlink(missing_ok=True)
        try:
            temporary.path.rename(path)
        except OSError:
            check_output_dir(path)
            raise
    finally:
        shutil.rmtree(temporary.path, ignore_errors=True)


def remove_abandoned(parent: Path, name: str) -> None:
    """Remove the folders of processes that were killed while they made the run of this name."""
    for folder in parent.glob(f".{glob.escape(name)}.*.part"):
        if not folder.is_dir():
            continue
        try:
            with lock_run(Run(folder)):
                shutil.rmtree(folder, ignore_errors=True)
        except (PinxitError, OSError):  # it is being written
            continue


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _replace_run(path: Path, config: dict[str, Any], fitted: dict[str, Any] | None) -> None:
    """Put a new run in the place of an old one, which is deleted once the new one is there."""
    new, old = path.with_name(f".{path.name}.new"), path.with_name(f".{path.name}.old")
    for leftover in (new, old):
        shutil.rmtree(leftover, ignore_errors=True)
    _write_run(Run(new), config, fitted)
    path.rename(old)
    new.rename(path)
    shutil.rmtree(old, ignore_errors=True)
