"""Runs that train and have no weights yet: they are served from their first evaluation on."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from pinxit.errors import PinxitError
from pinxit.runs import Run
from pinxit.serve.inference.loading import LoadedRun
from pinxit.serve.inference.registry import ModelRegistry
from pinxit.training.run_lock import is_locked

log = logging.getLogger("pinxit.serve")

CHECK_SECONDS = 1.0  # between looks at their folders


def split_pending(paths: Sequence[Path]) -> tuple[list[Path], list[Run]]:
    """Return the folders that can be loaded, and the runs whose first weights are to come.

    A run without weights that no process trains is not waited for.
    """
    pending = [
        run
        for run in map(Run, paths)
        if not run.weights_path.is_file() and (run.path / "config.json").is_file()
        if is_locked(run)
    ]
    names = {run.path for run in pending}
    return [path for path in paths if path not in names], pending


def load_when_ready(
    models: ModelRegistry,
    load: Callable[[Path], LoadedRun],
    on_loaded: Callable[[LoadedRun], object] = lambda run: None,
    check_seconds: float = CHECK_SECONDS,
) -> threading.Thread:
    """Load each pending run once it has weights, in a thread, which is returned."""
    ended = threading.Event()
    failed: set[tuple[str, int]] = set()  # weights that could not be loaded, to report them once

    def check() -> None:
        while models.pending and not ended.wait(check_seconds):
            for run in models.pending.values():
                if run.weights_path.is_file():
                    _try_to_load(models, run, load, on_loaded, failed)

    models.on_stop(ended.set)
    thread = threading.Thread(target=check, name="pinxit-pending", daemon=True)
    thread.start()
    return thread


def _try_to_load(
    models: ModelRegistry,
    run: Run,
    load: Callable[[Path], LoadedRun],
    on_loaded: Callable[[LoadedRun], object],
    failed: set[tuple[str, int]],
) -> None:
    try:
        version = (run.name, run.weights_path.stat().st_mtime_ns)
    except OSError:  # its folder has just been removed
        return
    if version in failed:
        return
    try:
        loaded = load(run.path)
    except (PinxitError, OSError, RuntimeError) as error:  # also where memory is short
        log.error("%s cannot be loaded: %s", run.name, error)
        failed.add(version)
        return
    models.add(loaded)
    on_loaded(loaded)
