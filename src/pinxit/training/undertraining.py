"""Detect runs that were trained too briefly for their metrics to describe the model."""

from __future__ import annotations

from dataclasses import dataclass

from pinxit.runs import Run

MIN_EPOCHS = 5.0
MIN_STEPS = 2_000  # enough on data sets so large that few epochs are normal


@dataclass(frozen=True)
class TrainingLength:
    """How long a run was trained."""

    steps: int
    epochs: float  # passes over the training images

    @property
    def is_short(self) -> bool:
        """Whether the run saw few epochs in few steps."""
        return self.epochs < MIN_EPOCHS and self.steps < MIN_STEPS

    def __str__(self) -> str:
        steps = "1 step" if self.steps == 1 else f"{self.steps:,} steps"
        epochs = f"{self.epochs:.1f}"
        return f"{steps} ({epochs} {'epoch' if epochs == '1.0' else 'epochs'})"


def get_training_length(run: Run) -> TrainingLength | None:
    """Return the steps and epochs of config.json, else of metrics.csv; None if neither has them."""
    trained = run.config.get("trained") or next(iter(run.metrics()[-1:]), {})
    steps = trained.get("steps", trained.get("step"))
    images_seen = trained.get("images_seen")
    if not steps or not images_seen:
        return None
    return TrainingLength(int(steps), images_seen / max(1, run.info.num_images))


def is_undertrained(run: Run | None) -> bool:
    """Whether the run is known to be trained too briefly."""
    length = None if run is None else get_training_length(run)
    return length is not None and length.is_short


def undertraining_warnings(run: Run) -> list[str]:
    """Return a warning if the run is trained too briefly."""
    length = get_training_length(run)
    if length is None or not length.is_short:
        return []
    return [f"trained for {length} only; train longer"]
