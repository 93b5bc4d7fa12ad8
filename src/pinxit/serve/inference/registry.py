"""The loaded runs and the names they answer to."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pinxit.data.batch import DatasetInfo
from pinxit.errors import UsageError
from pinxit.models.abilities import abilities
from pinxit.runs import Run
from pinxit.serve.inference.batching import Worker

CHAT_NAMES = (
    "gpt-5", "gpt-5-mini", "gpt-5-nano", "gpt-5.1", "gpt-4.1", "gpt-4.1-mini", "gpt-4.1-nano",
    "gpt-4o", "gpt-4o-mini", "gpt-4", "o3", "o4-mini",
)  # fmt: skip

IMAGE_NAMES = (
    "gpt-image-1", "gpt-image-1-mini", "gpt-image-1.5", "gpt-image-2", "chatgpt-image-latest",
    "dall-e-2", "dall-e-3",
)  # fmt: skip


@dataclass(eq=False)
class Served:
    """A run in memory, its worker, and what it can do."""

    name: str
    run: Run
    model: Any
    worker: Worker
    since: int = field(default_factory=lambda: int(time.time()))

    @property
    def abilities(self) -> tuple[str, ...]:
        return abilities(self.model)

    @property
    def info(self) -> DatasetInfo:
        return self.model.info


def load(paths: Sequence[Path], device: str, waiting: int) -> list[Served]:
    """Runs into memory. Raises PinxitError for one that is none, UsageError for a name twice."""
    found: list[Served] = []
    for path in paths:
        run = Run(path)
        if run.name in [one.name for one in found]:
            raise UsageError(f"two runs are named '{run.name}': rename one of their folders.")
        found.append(Served(run.name, run, run.load(device), Worker(run.name, waiting)))
    return found
