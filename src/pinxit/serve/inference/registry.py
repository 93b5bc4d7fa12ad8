"""The served runs by name, and the aliases that clients know: OpenAI's model names."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pinxit.errors import UsageError
from pinxit.serve.errors import unknown_model
from pinxit.serve.inference.loading import LoadedRun
from pinxit.serve.inference.router import Router
from pinxit.serve.schemas import ImageGenerationTool

ALL_RUNS = "pinxit"  # stands for all runs: each request goes to a run that supports it

# OpenAI's names, today's and tomorrow's: all of them stand for all runs; a few are listed
OPENAI_NAME = re.compile(r"(gpt|chatgpt|dall-e)-[-.\w]+|o\d+(-[-.\w]+)?", re.ASCII)
LISTED_NAMES = ("gpt-5", "gpt-5-mini", "gpt-4.1", "gpt-4o", "o3", "gpt-image-1", "dall-e-3")


class ModelRegistry:
    """All served runs and their aliases."""

    def __init__(self, runs: Sequence[LoadedRun], aliases: dict[str, str] | None = None) -> None:
        """`aliases` maps further names to runs. Raises UsageError for a run that is not served."""
        self.runs = {run.name: run for run in runs}
        self.aliases: dict[str, str] = dict.fromkeys((ALL_RUNS, *LISTED_NAMES), ALL_RUNS)
        for alias, name in (aliases or {}).items():
            if name not in self.runs and name != ALL_RUNS:
                raise UsageError(f"--alias {alias}={name}: no run is named '{name}'.")
            self.aliases[alias] = name
        for name in self.runs:
            self.aliases.pop(name, None)

    @property
    def names(self) -> list[str]:
        return [*self.runs, *self.aliases]

    def find(self, name: str | None, param: str = "model") -> Router:
        """Return the runs that a name stands for, all for None. Raises ApiError (404)."""
        target = self._resolve(name)
        if target == ALL_RUNS:
            return Router(list(self.runs.values()))
        if target not in self.runs:
            raise unknown_model(target, self.names, param)
        return Router([self.runs[target]])

    def find_tools_model(self, tool: ImageGenerationTool | None, router: Router) -> Router:
        """Return the run that the tool names; for OpenAI's names and none, those of the request.

        Raises ApiError (404) for a name that nobody knows.
        """
        if tool is None or tool.model is None:
            return router
        target = self._resolve(tool.model)
        return router if target == ALL_RUNS else self.find(target, "tools[0].model")

    def _resolve(self, name: str | None) -> str:
        """Return the name of a run, or `ALL_RUNS`. A run's own name comes before any alias."""
        if name is None:
            return ALL_RUNS
        if name in self.runs:
            return name
        if name in self.aliases:
            return self.aliases[name]
        return ALL_RUNS if OPENAI_NAME.fullmatch(name) else name

    def stop(self) -> None:
        """Stop the workers."""
        for run in self.runs.values():
            run.worker.stop()
