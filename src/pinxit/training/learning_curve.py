"""What the losses of a run say: still falling, level, rising, or beside the training loss.

Only differences of losses are compared, never a loss's own size: its zero depends on the unit of
the pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

MIN_EVALUATIONS = 4  # fewer losses say nothing about a trend
MIN_FALL = 0.02  # of the fall in the last three quarters: what counts as still falling
MIN_LATE_FALL = 0.2  # of the whole fall: a loss that falls so much in the second half is not done
MIN_RISE = 0.02  # of the whole fall: what counts as rising
LATEST_BEST = 0.7  # of training: a later minimum is no sign of overfitting
END = 0.1  # of training: over which the training loss at the end is averaged
NOISE_FACTOR = 2.0  # a difference below so many standard deviations of the noise is none


@dataclass(frozen=True)
class LearningCurve:
    """The losses of a run, in the unit of its loss, in the order of training."""

    # the validation loss at each evaluation; the training loss if there is none
    losses: tuple[float, ...]
    # the training loss between the evaluation before and this one, averaged; () without validation
    train_losses: tuple[float, ...] = ()
    train_end: float | None = None  # the training loss at the end, averaged

    @property
    def is_validation(self) -> bool:
        """Whether the losses are those of validation images."""
        return bool(self.train_losses)

    @property
    def is_long_enough(self) -> bool:
        """Whether there are enough losses for a trend."""
        return len(self.losses) >= MIN_EVALUATIONS

    @property
    def noise(self) -> float:
        """Standard deviation of a loss about its trend, from differences in the second half."""
        late = np.asarray(self.losses[len(self.losses) // 2 :])
        return 0.0 if len(late) < 3 else float(np.std(np.diff(late)) / np.sqrt(2))

    @property
    def end(self) -> float:
        """The last loss; for the noisier training loss the mean over the last tenth."""
        count = 1 if self.is_validation else max(1, int(END * len(self.losses)))
        return float(np.mean(self.losses[-count:]))

    @property
    def best(self) -> int:
        """Index of the lowest loss."""
        return int(np.argmin(self.losses))

    @property
    def last_fall(self) -> float | None:
        """How far the loss fell in the last quarter; 0 if it rose, None for too few losses."""
        if not self.is_long_enough:
            return None
        n = len(self.losses)
        return max(float(np.mean(self.losses[n // 2 : 3 * n // 4])) - self.end, 0.0)

    @property
    def still_falls(self) -> bool:
        """Whether the fall in the last quarter matters beside that of the last three quarters."""
        fall = self.last_fall
        if fall is None or fall <= self._least_difference:
            return False
        return fall > MIN_FALL * max(self.losses[len(self.losses) // 4] - self.end, 0.0)

    @property
    def falls_late(self) -> bool:
        """Whether the second half of training brought much of the whole fall."""
        if not self.is_long_enough:
            return False
        late_fall = self.losses[len(self.losses) // 2 - 1] - self.end
        whole = self.losses[0] - self.end
        return late_fall > max(MIN_LATE_FALL * whole, self._least_difference)

    @property
    def rise(self) -> float:
        """How far the validation loss has risen from a minimum long before the end; else 0."""
        if not self.is_validation or not self.is_long_enough:
            return 0.0
        if self.best >= LATEST_BEST * len(self.losses):
            return 0.0
        lowest = self.losses[self.best]
        least = max(MIN_RISE * (self.losses[0] - lowest), self._least_difference)
        return rise if (rise := self.end - lowest) > least else 0.0

    @property
    def gap(self) -> float | None:
        """Validation loss minus training loss at the end; None without validation images."""
        if self.train_end is None or not self.is_validation:
            return None
        return self.end - self.train_end

    @property
    def gap_outgrew_fall(self) -> bool:
        """Whether the validation loss is level, and less was gained in it than it lies above.

        The training loss then falls by what the model remembers.
        """
        if self.gap is None or not self.is_long_enough or self.still_falls:
            return False
        fall = self.losses[len(self.losses) // 4] - min(self.losses)
        return self.gap > max(fall, self._least_difference)

    @property
    def training_rose(self) -> bool:
        """Whether the training loss, too, is higher at the end than when the best weights were."""
        if self.train_end is None:
            return False
        if not self.is_validation:
            lowest, first = min(_smooth(self.losses)), self.losses[0]
            return self.is_long_enough and self.end > first and self.end > lowest
        return self.train_end > self.train_losses[self.best] + self._least_difference

    @property
    def _least_difference(self) -> float:
        return NOISE_FACTOR * self.noise


def read_learning_curve(rows: Sequence[Mapping[str, float]]) -> LearningCurve:
    """Read the curve from the rows of metrics.csv.

    The training loss is that without penalties, where there are some: so is that of validation.
    """
    name = "unpenalized_loss"
    rows = [{**row, "loss": row[name]} if name in row else row for row in rows]
    train = [row["loss"] for row in rows if "loss" in row]
    end = float(np.mean(train[-max(1, int(END * len(train))) :])) if train else None
    losses, between, since = [], [], 0
    for i, row in enumerate(rows):
        if "val_loss" in row:
            part = [r["loss"] for r in rows[since : i + 1] if "loss" in r]
            losses.append(row["val_loss"])
            between.append(float(np.mean(part)) if part else float("nan"))
            since = i + 1
    if not losses:
        return LearningCurve(tuple(train), train_end=end)
    return LearningCurve(tuple(losses), tuple(between), end)


def _smooth(losses: Sequence[float]) -> list[float]:
    """Return the means over tenths of training."""
    parts = np.array_split(np.asarray(losses), min(10, len(losses)))
    return [float(part.mean()) for part in parts]
