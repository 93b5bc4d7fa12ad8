"""The served runs by name, and the aliases that clients know: OpenAI's model names."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from pinxit.errors import UsageError
from pinxit.runs import Run
from pinxit.serve.errors import ApiError, unknown_model
from pinxit.serve.inference.loading import LoadedRun
from pinxit.serve.inference.router import Router
from pinxit.serve.schemas import ImageGenerationTool

ALL_RUNS = "pinxit"  # stands for all runs: each request goes to a run that supports it

# OpenAI's names, today's and tomorrow's: all of them stand for all runs; a few are listed
OPENAI_NAME = re.compile(r"(gpt|chatgpt|dall-e)-[-.\w]+|o\d+(-[-.\w]+)?", re.ASCII)
LISTED_NAMES = ("gpt-5", "gpt-5-mini", "gpt-4.1", "gpt-4o", "o3", "gpt-image-1", "dall-e-3")


class ModelRegistry:
    """All served runs and their aliases."""

    def __init__(
        self,
        runs: Sequence[LoadedRun],
        aliases: dict[str, str] | None = None,
        pending: Sequence[Run] = (),
    ) -> None:
        """`aliases` maps further names to runs. Raises UsageError for a run that is not served.

        `pending` are runs that train and have no weights yet, see `add`.
        """
        self.runs = {run.name: run for run in runs}
        self.pending = {run.name: run for run in pending}
        if len({*self.runs, *self.pending}) < len(runs) + len(pending):
            raise UsageError("two runs have the same name: rename one of their folders.")
        self._stop_callbacks: list[Callable[[], object]] = []
        self.aliases: dict[str, str] = dict.fromkeys((ALL_RUNS, *LISTED_NAMES), ALL_RUNS)
        for alias, name in (aliases or {}).items():
            if name not in (*self.runs, *self.pending, ALL_RUNS):
                raise UsageError(f"--alias {alias}={name}: no run is named '{name}'.")
            if alias in (*self.runs, *self.pending):
                raise UsageError(
                    f"--alias {alias}={name}: '{alias}' is a run; choose another name."
                )
            self.aliases[alias] = name
        for name in (*self.runs, *self.pending):
            self.aliases.pop(name, None)

    @property
    def names(self) -> list[str]:
        """The names that requests may use now: runs without weights have none, nor any alias."""
        if not self.runs:
            return []
        ready = (*self.runs, ALL_RUNS)
        return [*self.runs, *(name for name, target in self.aliases.items() if target in ready)]

    def add(self, run: LoadedRun) -> None:
        """Serve a run that was pending. Other threads read the dicts, so they are replaced."""
        self.runs = {**self.runs, run.name: run}
        self.pending = {name: other for name, other in self.pending.items() if name != run.name}

    def check_ready(self, name: str) -> None:
        """Raise ApiError (503) for a run that has no weights yet, or if none has."""
        if name in self.pending or not self.runs:
            text = "No run has weights yet" if name == ALL_RUNS else f"'{name}' has no weights yet"
            raise ApiError(f"{text}: wait for the first evaluation of its training.", status=503)

    def find(self, name: str | None, param: str = "model") -> Router:
        """Return the runs that a name stands for, all for None. Raises ApiError (404)."""
        target = self._resolve(name)
        self.check_ready(target)
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
        if name in self.runs or name in self.pending:
            return name
        if name in self.aliases:
            return self.aliases[name]
        return ALL_RUNS if OPENAI_NAME.fullmatch(name) else name

    def on_stop(self, callback: Callable[[], object]) -> None:
        """Call `callback` when the workers stop."""
        self._stop_callbacks.append(callback)

    def stop(self) -> None:
        """Stop the workers."""
        for callback in self._stop_callbacks:
            callback()
        for run in self.runs.values():
            run.worker.stop()
