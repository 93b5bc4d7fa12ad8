"""The served runs by name, and the aliases that clients know: OpenAI's model names."""

from __future__ import annotations

from collections.abc import Sequence

from pinxit.errors import UsageError
from pinxit.serve.errors import unknown_model
from pinxit.serve.inference.loading import LoadedRun
from pinxit.serve.inference.router import Router

ALL_RUNS = "pinxit"  # stands for all runs: each request goes to a run that supports it

CHAT_NAMES = (
    "gpt-5", "gpt-5-mini", "gpt-5-nano", "gpt-5.1", "gpt-4.1", "gpt-4.1-mini", "gpt-4.1-nano",
    "gpt-4o", "gpt-4o-mini", "gpt-4", "o3", "o4-mini",
)  # fmt: skip

IMAGE_NAMES = (
    "gpt-image-1", "gpt-image-1-mini", "gpt-image-1.5", "gpt-image-2", "chatgpt-image-latest",
    "dall-e-2", "dall-e-3",
)  # fmt: skip


class ModelRegistry:
    """All served runs and their aliases."""

    def __init__(self, runs: Sequence[LoadedRun], aliases: dict[str, str] | None = None) -> None:
        """`aliases` maps further names to runs. Raises UsageError for a run that is not served."""
        self.runs = {run.name: run for run in runs}
        self.aliases: dict[str, str] = dict.fromkeys(
            (ALL_RUNS, *CHAT_NAMES, *IMAGE_NAMES), ALL_RUNS
        )
        for alias, name in (aliases or {}).items():
            if name not in self.runs and name != ALL_RUNS:
                raise UsageError(f"--alias {alias}={name}: no run is named '{name}'.")
            self.aliases[alias] = name
        for name in self.runs:
            self.aliases.pop(name, None)

    @property
    def names(self) -> list[str]:
        return [*self.runs, *self.aliases]

    def find(self, name: str | None) -> Router:
        """Return the runs that a name stands for, all for None. Raises ApiError (404)."""
        target = ALL_RUNS if name is None else self.aliases.get(name, name)
        if target == ALL_RUNS:
            return Router(list(self.runs.values()))
        if target not in self.runs:
            raise unknown_model(target, self.names)
        return Router([self.runs[target]])

    def stop(self) -> None:
        """Stop the workers."""
        for run in self.runs.values():
            run.worker.stop()
