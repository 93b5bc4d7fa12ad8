"""The Training tab: a run in training, with the view that `train --watch-port` shows."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastapi.responses import JSONResponse, Response

from pinxit.errors import PinxitError
from pinxit.runs import Run
from pinxit.serve.errors import ApiError, truncate
from pinxit.serve.inference.registry import ModelRegistry
from pinxit.serve.pools import read_in_thread
from pinxit.training.run_lock import is_locked
from pinxit.watch.progress import file_signature, read_progress, read_sheet, version_of
from pinxit.watch.server import read_static_file

log = logging.getLogger("pinxit.serve")

ABILITY = "training"  # of a run whose training is not finished, beside those of its model
ACTIVE_SECONDS = 120.0  # since metrics.csv was written: it trains, where locks are not known
DEFAULT_SIZE = 0  # of a run whose size is not recorded


def add_training(add: Callable[..., Any], models: ModelRegistry) -> None:
    """Add the routes of the tab, and the files of its view."""
    routes = TrainingRoutes(models)
    add("/studio/data/training", routes.progress)
    add("/studio/data/training/sheet", routes.sheet)
    add("/studio/static/training/{name}", routes.static_file)


def add_trainings(records: list[dict[str, Any]], models: ModelRegistry) -> list[dict[str, Any]]:
    """Return the records of the runs with the ability `training` where it is not finished.

    Runs without weights yet are added: they have no other tab. One whose folder is damaged or
    gone is left out, and the others stay.
    """
    shown = []
    for record in records:
        run = models.runs[record["name"]].run
        more = [ABILITY] if is_unfinished(run) else []
        shown.append({**record, "abilities": [*more, *record["abilities"]]})
    waiting = map(_pending_record, models.pending.values())
    return [*shown, *(record for record in waiting if record is not None)]


def is_unfinished(run: Run) -> bool:
    """Return whether a run's training goes on, or was stopped before its end."""
    try:
        return Run(run.path).config["finished"] is not True
    except (PinxitError, OSError):  # it has been removed since it was loaded
        return False


@dataclass(frozen=True)
class TrainingRoutes:
    """Routes of the tab."""

    models: ModelRegistry

    async def progress(self, run: str) -> Response:
        """Return the state of a run's training."""
        found = self._find_run(run)
        return JSONResponse(await read_in_thread(_read_state, found, run in self.models.runs))

    async def sheet(self, run: str, stage: int, name: str) -> Response:
        """Return an image that training wrote."""
        content = await read_in_thread(read_sheet, self._find_run(run), stage, name)
        if content is None:
            raise ApiError("This run has no such image.", status=404)
        return Response(content, media_type="image/png")

    async def static_file(self, name: str) -> Response:
        found = read_static_file(name)
        if found is None or name.endswith(".html"):
            raise ApiError("This file does not exist.", status=404)
        content, media_type = found
        return Response(content, media_type=media_type, headers={"Cache-Control": "no-cache"})

    def _find_run(self, name: str) -> Run:
        loaded = self.models.runs.get(name)
        run = loaded.run if loaded is not None else self.models.pending.get(name)
        if run is None:
            raise ApiError(f"There is no run '{truncate(name)}'.", status=404, param="run")
        return run


def _read_state(run: Run, is_loaded: bool) -> dict[str, Any]:
    is_running = is_locked(run)
    record = read_progress(run, is_running=is_running is True)
    if is_running is None:
        updated = [stage["updated"] or 0.0 for stage in record["stages"]]
        is_active = time.time() - max(updated) < ACTIVE_SECONDS
        record = read_progress(run, is_running=is_active and record["status"] != "finished")
    message = ""
    if record["status"] == "stopped":
        message = f"It goes on with: {Run(run.path).resume_command}"
    elif not is_loaded:
        message = "Other tabs come with the first weights: reload the page then."
    elif record["status"] != "finished":
        message = "The other tabs use the weights of when this server loaded the run."
    record |= {"message": message, "has_ended": False, "can_stop": False, "is_stopping": False}
    version = version_of(file_signature(run), record["status"], message)
    return {**record, "version": version, "now": time.time()}


def _pending_record(run: Run) -> dict[str, Any] | None:
    """Return the record of a run without weights, with all fields that the page reads.

    None if its folder was damaged or removed while it waits.
    """
    try:
        config = Run(run.path).config
    except (PinxitError, OSError) as error:
        log.warning("run %s cannot be described: %s", run.name, type(error).__name__)
        return None
    info = config["dataset_info"]
    return {
        "name": run.name,
        "path": run.path.name if run.path.is_absolute() else str(run.path),
        "family": config["family"],
        "width": info.get("width", DEFAULT_SIZE),
        "height": info.get("height", DEFAULT_SIZE),
        "channels": info.get("channels", DEFAULT_SIZE),
        "abilities": [ABILITY],
        "labels": [],
        "languages": [],
        "latents": 0,
        "settings": {},
    }
