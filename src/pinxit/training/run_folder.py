"""Create a run folder and write its config.json."""

from __future__ import annotations

import dataclasses
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pinxit.errors import PinxitError, UsageError
from pinxit.training.prepare import TrainingPlan

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from pinxit.runs import Run


def check_output_dir(out: str | Path | None) -> None:
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


def create_run(
    prepared: TrainingPlan,
    out: str | Path | None,
    reading: dict[str, Any],
    fabric: Fabric,
    command: str | None = None,
) -> Run:
    """The run folder with its config.json, made by the first process for all.

    Raises UsageError for a folder that is taken, PinxitError for one that cannot be written.
    """
    from pinxit.runs import Run, default_run_path

    if not fabric.is_global_zero:
        return Run(Path(fabric.broadcast("")))
    check_output_dir(out)
    path = Path(out) if out else default_run_path(prepared.images.source, prepared.family)
    _written(Run(path), _config(prepared, reading, command), prepared.tensors)
    return Run(Path(fabric.broadcast(str(path))))


def _config(prepared: TrainingPlan, reading: dict[str, Any], command: str | None) -> dict[str, Any]:
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
        "dataset_info": prepared.model.info.to_json(),
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

            run.write(run.fitted_path.name, save(tensors))
        run.write("config.json", config)
    except OSError as error:
        raise PinxitError(f"cannot write to {run.path}: {error.strerror or error}.") from None


def versions() -> dict[str, str]:
    """What a run was made with."""
    packages = {name: version(name) for name in ("pinxit", "torch", "numpy", "lightning-fabric")}
    return {**packages, "python": platform.python_version(), "machine": platform.machine()}
