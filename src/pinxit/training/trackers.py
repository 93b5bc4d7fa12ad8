"""What records a training beside metrics.csv: TensorBoard, Weights & Biases.

A tracker that fails is left out, which is said once; the training goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from pinxit.errors import PinxitError
from pinxit.runs import Run
from pinxit.training.model_card import shorten_path
from pinxit.training.previews import list_grids

# images of the training data do not leave the machine: only generated ones are sent
SENDS = ("wandb",)
TITLES = {"tensorboard": "TensorBoard", "wandb": "Weights & Biases"}


class Tracker(Protocol):
    """Records the curves, images and options of a training."""

    def append(self, row: Mapping[str, float], step: int) -> None: ...
    def append_images(self, files: Mapping[str, Path], step: int) -> None: ...
    def describe(self, config: Mapping[str, Any]) -> None: ...
    def close(self) -> None: ...


class Trackers:
    """The trackers of one session, in the main process; `say` prints a line."""

    def __init__(self, run: Run, say: Callable[[str], None]) -> None:
        self.run, self.say = run, say
        self.opened: dict[str, Tracker] = {}

    def open(self, names: Sequence[str], start_step: int) -> None:
        """Open trackers by name; those of a resumed run go on after `start_step`."""
        config = describe_run(self.run)
        for name in names:
            if name in TITLES:  # metrics.csv is written in any case
                self._guard(name, lambda name=name: self._open(name, config, start_step))

    def _open(self, name: str, config: Mapping[str, Any], start_step: int) -> None:
        tracker = _create(name, self.run, config, start_step, self.say)
        self.opened[name] = tracker
        if not start_step:
            tracker.describe(config)

    def append(self, row: Mapping[str, float], step: int) -> None:
        """Record a row of metrics.csv."""
        for name, tracker in list(self.opened.items()):
            self._guard(name, lambda tracker=tracker: tracker.append(row, step))

    def append_previews(self, step: int) -> None:
        """Record the grids that were written to `samples/` at this step."""
        folder = self.run.path / "samples"
        for name, tracker in list(self.opened.items()):
            files = list_grids(folder, step, only_generated=name in SENDS)
            if files:
                self._guard(
                    name, lambda tracker=tracker, files=files: tracker.append_images(files, step)
                )

    def close(self) -> None:
        """Write what is not written yet."""
        for name, tracker in list(self.opened.items()):
            self._guard(name, tracker.close)
        self.opened.clear()

    def _guard(self, name: str, action: Callable[[], None]) -> None:
        """Call `action`; after an error of any kind, say so and leave the tracker out."""
        try:
            action()
        except Exception as error:  # each library has its own errors
            more = "more " if self.opened.pop(name, None) else ""
            reason = next(iter(str(error).splitlines()), "").rstrip(".") or type(error).__name__
            if isinstance(error, OSError) and error.strerror:
                reason = error.strerror
            self.say(f"no {more}curves for {TITLES[name]}: {reason}; metrics.csv has the same")


def _create(
    name: str, run: Run, config: Mapping[str, Any], start_step: int, say: Callable[[str], None]
) -> Tracker:
    if name == "wandb":
        from pinxit.training.wandb_log import WandbLog

        return WandbLog(run, config, say)
    if name == "tensorboard":
        from pinxit.training.tensorboard_log import FOLDER, TensorBoardLog

        return TensorBoardLog(run.path / FOLDER, start_step)
    raise PinxitError(f"there is no tracker {name}")


def describe_run(run: Run) -> dict[str, Any]:
    """Return the options of a run, without the paths, names and texts of its data."""
    config, info = run.config, run.info
    return {
        "family": run.family,
        "model": {k: shorten_path(v) for k, v in config["model"].items() if v is not None},
        "training": {k: v for k, v in config["training"].items() if v is not None},
        "images": {
            "width": info.width,
            "height": info.height,
            "channels": info.channels,
            "num_images": info.num_images,
        },
    }
