"""How a model is trained: the options that every family shares. Imports no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from pinxit.data.batch import DatasetInfo
from pinxit.errors import UsageError

DEFAULT_MINUTES = 5.0
BUDGETS = ("minutes", "steps", "epochs")

Precision = Literal["auto", "fp32", "bf16"]
Optimizer = Literal["auto", "adamw", "muon"]


@dataclass(frozen=True)
class TrainingSettings:
    """Training settings; the budget is one of minutes, steps and epochs."""

    # minutes to train, by the clock, all of training counted; None with no other budget: 5
    minutes: float | None = None
    # steps to train
    steps: int | None = None
    # times to see every training image
    epochs: float | None = None
    # images a step; None: chosen from size and number of images
    batch_size: int | None = None
    # muon for the matrices of transformer layers and residual convolutions, adamw for the rest;
    # auto: muon where there are such layers
    optimizer: Optimizer = "auto"
    # AdamW's, at its highest; None: chosen from the number of parameters. Muon's is 7 times that
    learning_rate: float | None = None
    # AdamW's decoupled weight decay, on matrices only
    weight_decay: float = 0.01
    # steps over which the learning rate rises to its highest; at most a tenth of the budget
    warmup_steps: int = 200
    # decay of the running average of the weights, which is what is kept
    ema_decay: float = 0.999
    # gradient norms above this many times their running mean are cut to it; 0: never
    grad_clip_factor: float = 4.0
    # of matrix products; auto measures once and takes the faster
    precision: Precision = "auto"
    # of all chance: weights, order of images, noise
    seed: int = 0
    # processes or accelerators that share each batch
    devices: int = 1
    # times to evaluate on validation images, and to draw samples, over the budget
    num_evals: int = 20
    # seconds between checkpoints
    checkpoint_seconds: float = 30.0
    # updates skipped in a row, for a loss that is not finite, after which training stops
    max_skipped_updates: int = 20
    # write event files for TensorBoard
    tensorboard: bool = True

    def __post_init__(self) -> None:
        budgets = [b for b in BUDGETS if getattr(self, b) is not None]
        if len(budgets) > 1:
            raise UsageError(f"one budget at a time, not {' and '.join(budgets)}.")
        positive = [*BUDGETS, "batch_size", "learning_rate", "devices"]
        for name in [*positive, "num_evals", "max_skipped_updates"]:
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise UsageError(f"{name} must be above 0, not {value}.")
        for name in (
            "weight_decay",
            "warmup_steps",
            "grad_clip_factor",
            "checkpoint_seconds",
            "seed",
        ):
            if not 0 <= getattr(self, name) < math.inf:
                raise UsageError(f"{name} must be 0 or more, not {getattr(self, name)}.")
        if not 0 <= self.ema_decay < 1:
            raise UsageError(f"ema_decay is a decay from 0 to below 1, not {self.ema_decay}.")
        if self.precision not in get_args(Precision):
            raise UsageError(f"precision is auto, fp32 or bf16, not '{self.precision}'.")
        if self.optimizer not in get_args(Optimizer):
            raise UsageError(f"optimizer is auto, adamw or muon, not '{self.optimizer}'.")

    @property
    def seconds(self) -> float | None:
        """The budget in seconds; None where it is one of steps or epochs."""
        if self.steps or self.epochs:
            return None
        return 60 * (self.minutes or DEFAULT_MINUTES)

    def total_steps(self, images: int, batch: int) -> int | None:
        """The budget in steps; None where it is one of minutes."""
        if self.steps:
            return self.steps
        return math.ceil(self.epochs * images / batch) if self.epochs else None


def default_batch_size(info: DatasetInfo, fit: int | None = None) -> int:
    """A power of two near 1/256 of the images, 64 to 256; fewer of large images, and no more
    than `fit`."""
    most = 256 if info.dims <= 4096 else 128 if info.dims <= 3 * 64 * 64 else 32
    wanted = 2 ** round(math.log2(max(1, info.num_images / 256)))
    return min(info.num_images, most, max(64, wanted), fit or most)


def default_learning_rate(parameters: int) -> float:
    """2e-3 for up to 2 million parameters, falling with their square root."""
    return round(2e-3 * min(1.0, math.sqrt(2e6 / parameters)), 6)
