"""Runs in memory, each with the worker that runs its model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pinxit.data.batch import DatasetInfo
from pinxit.errors import PinxitError, UsageError
from pinxit.models.abilities import abilities
from pinxit.runs import Run
from pinxit.serve.errors import truncate
from pinxit.serve.inference.batching import BatchingWorker


@dataclass(eq=False)
class LoadedRun:
    """A run with its model and the model's worker."""

    name: str
    run: Run
    model: Any  # has the protocol of each of its `abilities`
    worker: BatchingWorker
    loaded_at: int = field(default_factory=lambda: int(time.time()))  # Unix time

    @cached_property  # isinstance of a protocol takes 0.2 ms, and every request looks here
    def abilities(self) -> tuple[str, ...]:
        return abilities(self.model)

    @property
    def info(self) -> DatasetInfo:
        return self.model.info


def _check_texts(run: Run) -> None:
    """Raises PinxitError for names that cannot be shown: a run may be a stranger's."""
    if not run.name.isprintable():
        raise PinxitError(
            f"the name of the run folder '{truncate(run.name)}' has characters that cannot be "
            "shown. Rename it: a run is served under the name of its folder."
        )
    for text in (*run.info.label_names, *run.info.languages):
        if not isinstance(text, str):
            message = f"'{truncate(text)}' is not the name of a label or a language"
            raise PinxitError(f"{truncate(run.path)}: config.json is damaged: {message}.")


def load_runs(paths: Sequence[Path], device: str, max_queued_rows: int) -> list[LoadedRun]:
    """Load runs. Raises PinxitError for a folder that is not a run, UsageError for equal names."""
    loaded: dict[str, LoadedRun] = {}
    for path in paths:
        run = Run(path)
        _check_texts(run)
        if run.name in loaded:
            raise UsageError(f"two runs are named '{run.name}': rename one of their folders.")
        loaded[run.name] = load_served_run(path, device, max_queued_rows)
    return list(loaded.values())


def load_served_run(path: Path, device: str, max_queued_rows: int) -> LoadedRun:
    """Load a run and start its worker. Raises PinxitError for a folder that is not a run."""
    run = Run(path)
    model = run.load(device)
    return LoadedRun(run.name, run, model, BatchingWorker(run.name, max_queued_rows))
