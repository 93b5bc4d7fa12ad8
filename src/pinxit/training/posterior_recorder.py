"""Records posteriors while a model trains, at fixed fractions of its budget."""

from __future__ import annotations

import numpy as np

from pinxit.data.images import Images
from pinxit.runs import Run
from pinxit.training.loop import StepResult, TrainState
from pinxit.training.posterior_snapshots import (
    choose_images,
    crosses_mark,
    drop_snapshots_after,
    has_snapshots,
    save_snapshot,
)
from pinxit.training.validation import ema_weights, whole_model


class PosteriorRecorder:
    """Writes snapshots of the posterior of some images, with the averaged weights.

    Which steps have one depends on the budget only: a resumed run has those of an uninterrupted
    one. Encoding draws no random numbers, so training is the same with and without.
    """

    def __init__(self, run: Run, state: TrainState, images: Images, rows: np.ndarray) -> None:
        self.run, self.state = run, state
        self.active = has_snapshots(state.module) and len(rows) > 1
        dims = images.height * images.width * images.channels
        self.images = images.take(choose_images(rows, dims)) if self.active else None

    def start(self, step: int) -> None:
        """Drop later snapshots than that step; before the first one, take a snapshot."""
        if self.state.fabric.is_global_zero:
            drop_snapshots_after(self.run, step)
        if step == 0:
            self._save(step)

    def record(self, result: StepResult) -> None:
        """Take a snapshot if a mark was passed. All processes call it, the main one writes."""
        if crosses_mark(result.progress_before, result.progress):
            self._save(result.step)

    def _save(self, step: int) -> None:
        if self.images is None:
            return
        with ema_weights(self.state), whole_model(self.state) as model:
            if model is not None:
                save_snapshot(model, self.run, step, self.images)  # pyright: ignore[reportArgumentType]
