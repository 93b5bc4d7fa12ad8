"""`TrainingSettings`: the training options that all families share. Imports no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from pinxit.data.batch import DatasetInfo
from pinxit.data.seeds import check_seed
from pinxit.errors import UsageError
from pinxit.extras import require_extra
from pinxit.nn.device import Device

DEFAULT_MINUTES = 5.0
BUDGETS = ("minutes", "steps", "epochs")

Augment = Literal["auto", "strong", "off", "flip", "move", "color", "turn", "channels"]
PRESETS = ("auto", "strong", "off")  # of augmentation
Keep = Literal["auto", "best", "last"]
Precision = Literal["auto", "fp32", "bf16"]
Optimizer = Literal["auto", "adamw", "muon"]
Strategy = Literal["ddp", "fsdp"]
Compile = Literal["auto", "off", "on"]
Log = Literal["tensorboard", "wandb", "csv"]  # csv: metrics.csv alone


@dataclass(frozen=True)
class TrainingSettings:
    """Options of training. The budget is one of minutes, steps and epochs."""

    # minutes to train, from the first step on, at least 50 steps; None: 5, unless there is another
    # budget
    minutes: float | None = None
    # steps to train, instead of minutes
    steps: int | None = None
    # passes over the training images, instead of minutes
    epochs: float | None = None
    # images per step; None: chosen from the size and the number of the images
    batch_size: int | None = None
    # adamw, or muon for the matrices of transformer layers and residual convolutions and adamw for
    # the rest; auto: muon if the model has such layers
    optimizer: Optimizer = "auto"
    # peak learning rate of AdamW; Muon's is 7 times as high; None: chosen from the number of
    # parameters
    learning_rate: float | None = None
    # decoupled weight decay of matrices
    weight_decay: float = 0.01
    # steps of linear learning-rate warmup, at most a tenth of the budget
    warmup_steps: int = 200
    # decay of the moving average of the weights, which is the model that is saved
    ema_decay: float = 0.999
    # clip gradients whose norm is above this many times the running mean of the norms; 0: never
    grad_clip_factor: float = 4.0
    # changes of training images, so that few are not learned by heart: flip, move (shifts and
    # scales), color, turn (upside down; sideways if square), channels (colors exchanged), or off;
    # auto: for fewer than 10,000 images (1,000 for a flow) of at least 16 x 16, as they allow;
    # strong: all kinds, for autoencoders that only reconstruct: auto means strong for a tokenizer,
    # and for the VAE of a flow
    augment: tuple[Augment, ...] = ("auto",)
    # fraction of training after which images are not changed any more, so that the model ends with
    # images as they are
    augment_until: float = 1.0
    # precision of matrix products; auto: the faster one, measured before training
    precision: Precision = "auto"
    # compile networks with torch.compile, which takes about 20 seconds before the first steps;
    # auto: on one GPU, those that were measured to train faster (of a flow without captions, and
    # of a VAE with a grid of latents), if the budget is long enough; on: all that can be, on any
    # device; off by default, since its results on a GPU are not checked yet
    compile: Compile = "off"
    # random seed of weights, order of the images and noise
    seed: int = 0
    # where to train; auto: a GPU if there is one
    device: Device = "auto"
    # processes of a machine, each with an accelerator if there are any, that share each batch
    devices: int = 1
    # machines that share each batch; started on each of them, see docs/cluster.md
    nodes: int = 1
    # ddp: every process holds the whole model; fsdp: a part of it, for models that are too large
    strategy: Strategy = "ddp"
    # parts of a batch that are computed one after another, which takes less memory
    accumulate: int = 1
    # number of evaluations on validation images, each with a sample grid, over the budget
    num_evals: int = 20
    # which weights are saved: those of the best validation loss, or the last; training ends early
    # where the best ones are kept and the validation loss has long stopped falling; auto: last for
    # a flow and with an adversarial term, else best
    keep: Keep = "auto"
    # seconds between checkpoints
    checkpoint_seconds: float = 30.0
    # stop after this many updates in a row are skipped because the loss is not finite
    max_skipped_updates: int = 20
    # record the curves, samples and options beside metrics.csv, which each run has: tensorboard
    # (event files in the run folder), wandb (Weights & Biases), or several; each needs the extra of
    # its name
    log: tuple[Log, ...] = ()
    # the same as --log tensorboard
    tensorboard: bool = False

    def __post_init__(self) -> None:
        check_seed(self.seed)
        budgets = [b for b in BUDGETS if getattr(self, b) is not None]
        if len(budgets) > 1:
            raise UsageError(f"give one budget, not {' and '.join(budgets)}.")
        positive = [*BUDGETS, "batch_size", "learning_rate", "devices", "nodes", "accumulate"]
        for name in [*positive, "num_evals", "max_skipped_updates"]:
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise UsageError(f"{name} must be above 0, not {value}.")
        for name in ("weight_decay", "warmup_steps", "grad_clip_factor", "checkpoint_seconds"):
            if not 0 <= getattr(self, name) < math.inf:
                raise UsageError(f"{name} must be 0 or more, not {getattr(self, name)}.")
        if not 0 <= self.ema_decay < 1:
            raise UsageError(f"ema_decay must be at least 0 and below 1, not {self.ema_decay}.")
        if self.precision not in get_args(Precision):
            raise UsageError(f"precision is auto, fp32 or bf16, not '{self.precision}'.")
        if self.device not in get_args(Device):
            raise UsageError(f"device is auto, cpu, cuda or mps, not '{self.device}'.")
        if self.strategy not in get_args(Strategy):
            raise UsageError(f"strategy is ddp or fsdp, not '{self.strategy}'.")
        if self.compile not in get_args(Compile):
            raise UsageError(f"compile is auto, off or on, not '{self.compile}'.")
        if isinstance(self.augment, str):
            object.__setattr__(self, "augment", (self.augment,))
        if not self.augment or not set(self.augment) <= set(get_args(Augment)):
            raise UsageError(
                "augment is auto, strong, off, or some of flip, move, color, turn and channels, "
                f"not {', '.join(map(str, self.augment))}."
            )
        if len(self.augment) > 1 and set(PRESETS) & set(self.augment):
            raise UsageError("augment auto, strong and off stand alone.")
        if not 0 < self.augment_until <= 1:
            raise UsageError(
                f"augment_until must be above 0 and at most 1, not {self.augment_until}."
            )
        if self.keep not in get_args(Keep):
            raise UsageError(f"keep is auto, best or last, not '{self.keep}'.")
        if self.optimizer not in get_args(Optimizer):
            raise UsageError(f"optimizer is auto, adamw or muon, not '{self.optimizer}'.")
        self._check_log()

    def _check_log(self) -> None:
        names = (self.log,) if isinstance(self.log, str) else tuple(self.log)
        for name in names:
            if name not in get_args(Log):
                raise UsageError(f"log is some of tensorboard, wandb and csv, not {name!r}.")
        if self.tensorboard and "tensorboard" not in names:
            names = (*names, "tensorboard")
        object.__setattr__(self, "log", tuple(dict.fromkeys(names)))
        for name in self.log:
            if name != "csv":
                require_extra(name, "--tensorboard" if self.tensorboard else f"--log {name}")
        object.__setattr__(self, "tensorboard", False)  # of `log` by now, which alone is recorded

    @property
    def augment_kinds(self) -> tuple[Augment, ...]:
        """The kinds of changes, of resolved settings; those of older runs have none."""
        return () if self.augment[0] in PRESETS else self.augment

    def augment_kinds_at(self, progress: float) -> tuple[Augment, ...]:
        """The kinds of changes at a fraction of training."""
        return self.augment_kinds if progress < self.augment_until else ()

    @property
    def seconds(self) -> float | None:
        """The budget in seconds; None for a budget of steps or epochs."""
        if self.steps or self.epochs:
            return None
        return 60 * (self.minutes or DEFAULT_MINUTES)

    def total_steps(self, num_images: int, batch_size: int) -> int | None:
        """Return the budget in steps; None for a budget of minutes."""
        if self.steps:
            return self.steps
        return math.ceil(self.epochs * num_images / batch_size) if self.epochs else None


def default_batch_size(info: DatasetInfo, max_batch_size: int | None = None) -> int:
    """Return a power of two near 1/256 of the images, 64 to 256; smaller for large images."""
    largest = 256 if info.dims <= 4096 else 128 if info.dims <= 3 * 64 * 64 else 32
    per_count = 2 ** round(math.log2(max(1, info.num_images / 256)))
    return min(info.num_images, largest, max(64, per_count), max_batch_size or largest)


def default_learning_rate(num_parameters: int) -> float:
    """Return 2e-3, times the square root of 2 million / parameters for larger models."""
    return round(2e-3 * min(1.0, math.sqrt(2e6 / num_parameters)), 6)
