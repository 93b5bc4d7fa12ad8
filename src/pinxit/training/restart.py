"""Go on with a run by the command that started it: what `resume_or_start` finds in `out`.

Launchers that restart a job (torchrun, Slurm, Kubernetes) run the same command again. config.json
records what was requested, so that another command is not taken for the same one.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pinxit.data.images import Images
from pinxit.data.load_options import LoadOptions
from pinxit.errors import UsageError
from pinxit.models import family_of
from pinxit.runs import Run
from pinxit.training.prepare import list_files
from pinxit.training.run_folder import is_run_folder
from pinxit.training.settings import BUDGETS, TrainingSettings
from pinxit.training.stages import OF_A_SESSION

if TYPE_CHECKING:
    from pinxit.data.load import Data

OF_ANY_SESSION = (
    *BUDGETS, *OF_A_SESSION, "num_evals", "checkpoint_seconds", "max_skipped_updates",
)  # fmt: skip


def describe_request(
    model: Any, images: Data, settings: TrainingSettings, load: LoadOptions
) -> dict[str, Any]:
    """Return what a call of `train` requests, as JSON: before anything is chosen or resolved."""
    record = {
        "family": model if isinstance(model, str) else family_of(model),
        "model": {} if isinstance(model, str) else dataclasses.asdict(model),
        "training": dataclasses.asdict(settings),
        "load": load.to_json(),
        "data": _name_source(images),
    }
    return json.loads(json.dumps(record, default=str))


def find_started(
    out: str | Path | None, images: Data, request: Mapping[str, Any], overwrite: bool
) -> Run | None:
    """Return the run in `out` if there is one; None if it is to be started.

    Raises UsageError if it was started with another model, other data or other load options.
    """
    if out is None:
        raise UsageError("resume_or_start needs out, the same run folder each time.")
    if overwrite:
        raise UsageError("give overwrite or resume_or_start, not both.")
    if not is_run_folder(Path(out)):
        return None
    run = Run(Path(out))
    _check_data(run, images)
    before = run.config.get("requested")
    if before is not None:
        for part in ("family", "model", "load", *(("data",) if before.get("data") else ())):
            _check_equal(run, part, before.get(part), request[part])
    elif request["family"] not in ("auto", run.family):
        _check_equal(run, "family", run.family, request["family"])
    return run


def _name_source(images: Data) -> str | None:
    """Return the name or the absolute path of one source; None of images, or of several files."""
    if isinstance(images, Images):
        return None
    sources = [images] if isinstance(images, str | Path) else list(images)
    if len(sources) != 1:
        return None
    path = Path(sources[0])
    return str(path.absolute()) if path.exists() else str(sources[0])


def find_changes(run: Run, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of training that differ from those that the run was started with.

    Raises UsageError for one that no later session changes: what was chosen from it is recorded.
    """
    before = (run.config.get("requested") or {}).get("training") or request["training"]
    now = request["training"]
    changes = {name: v for name, v in now.items() if name in before and before[name] != v}
    for name in changes:
        if name not in OF_ANY_SESSION:
            _check_equal(run, name, before[name], now[name])
    return changes


def _check_equal(run: Run, part: str, before: Any, now: Any) -> None:
    """Raise UsageError, with the first difference, if a part of the request is another one."""
    if before == now:
        return
    name, first, second = part, before, now
    if isinstance(before, dict) and isinstance(now, dict):
        names = [n for n in [*before, *now] if before.get(n) != now.get(n)]
        if not names:
            return
        name, first, second = names[0], before.get(names[0]), now.get(names[0])
    raise UsageError(
        f"{run.path} was started with another {name}: {first}, not {second}. "
        "Go on with the same options, or choose another --out."
    )


def _check_data(run: Run, images: Data) -> None:
    record = run.config["data"]
    if isinstance(images, Images):
        _check_equal(run, "data", record.get("fingerprint"), images.fingerprint)
        return
    files = list_files(images)
    if files or record.get("files"):
        _check_equal(run, "data", record.get("files"), files)
