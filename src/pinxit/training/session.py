"""One session of training: from where the last checkpoint stands to the end of the budget.

Runs the loop, and decides when to report, evaluate, draw, checkpoint and stop.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch

from pinxit.data.pictures import Pictures
from pinxit.errors import PinxitError
from pinxit.models.blocks import mix
from pinxit.runs import Run
from pinxit.training.checkpoint import load_checkpoint, save_checkpoint
from pinxit.training.loop import State, Step, Trainer, adamw, training
from pinxit.training.precision import faster_precision
from pinxit.training.progress import Progress
from pinxit.training.records import EventFile, Metrics, draw
from pinxit.training.schedule import Clock
from pinxit.training.settings import Settings

if TYPE_CHECKING:
    from lightning_fabric import Fabric

VALIDATION = 2048  # pictures at most that the best weights are chosen by
SHOWN = 12  # pictures whose reconstructions are drawn as it learns
ROWS = 200  # of metrics.csv over a budget


def set_up_fabric(settings: Settings) -> Fabric:
    """Device, processes and precision, by Lightning Fabric."""
    from lightning_fabric import Fabric

    device = "cuda" if torch.cuda.is_available() else "cpu"
    precision = settings.precision
    if precision == "auto":
        precision = faster_precision(device)
    fabric = Fabric(
        accelerator=device,
        devices=settings.devices,
        strategy="ddp" if settings.devices > 1 else "auto",
        precision="bf16-mixed" if precision == "bf16" else "32-true",
    )
    if settings.devices > 1:
        fabric.launch()
    return fabric


class Session:
    """A model, its data and its run folder while it trains."""

    def __init__(
        self,
        run: Run,
        pictures: Pictures,
        settings: Settings,
        fabric: Fabric,
        clock: Clock,
        quiet: bool = False,
    ) -> None:
        self.run, self.pictures, self.settings, self.fabric = run, pictures, settings, fabric
        self.rows = pictures.rows_of("train")
        valid = pictures.rows_of("validation") if pictures.splits is not None else self.rows[:0]
        self.valid = valid[:VALIDATION]
        torch.manual_seed(mix(settings.seed, -1))
        module = run.build()
        optimizer = adamw(module, settings)
        average = [p.detach().clone().to(fabric.device) for p in module.parameters()]
        model, optimizer = fabric.setup(module, optimizer)
        model.mark_forward_method("loss")
        self.trainer = Trainer(fabric, model, optimizer, average, State())
        self.clock, self.budget = clock, settings.seconds
        self.quiet, self.stopped = quiet, False
        self.latest: float | None = None  # validation loss
        assert settings.batch_size
        self.total = settings.total_steps(len(self.rows), settings.batch_size)

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes."""
        return self.fabric.is_global_zero

    def progress(self, state: State) -> float:
        """Share of the budget that is spent; with several processes the leader's clock counts."""
        state.seconds = self.clock.seconds
        if self.total is not None:
            return state.step / self.total
        assert self.budget
        now = state.seconds / self.budget
        return self.fabric.broadcast(now) if self.fabric.world_size > 1 else now

    def go(self, resumed: bool) -> None:
        """Train to the end of the budget, or until stopped; leaves a checkpoint either way.

        Raises PinxitError after too many updates in a row that were not finite.
        """
        state, word = self.trainer.state, None
        if resumed:
            word = load_checkpoint(self.run.path / "checkpoint", self.trainer)
            self.clock.before += state.seconds
        self.told = Progress(self.settings.batch_size or 1, self.quiet or not self.leads)
        if word:
            self.told.say(word)
        metrics = Metrics(self.run.path / "metrics.csv", state.step) if self.leads else None
        self.metrics = metrics
        self.events: EventFile | None = None
        self.trainer.module.train()
        try:
            with _stopping(self._stop) if self.leads else nullcontext():
                self._train(state)
            self.finish()
        finally:
            self.told.stop()
            if self.events:
                self.events.close()

    def _stop(self) -> None:
        self.stopped = True

    def _train(self, state: State) -> None:
        checkpointed = time.perf_counter()
        if state.step == 0:
            self.checkpoint()
        steps = training(self.trainer, self.pictures, self.rows, self.settings, self.progress)
        for step in steps:
            self._watch(step, state)
            passed = step.passed(self.settings.evaluations)
            if passed:
                self.evaluate(step)
            if passed or step.passed(ROWS):
                self.record(step, validated=passed)
            self.told.step(step, self.latest)
            if self._agree_to_stop():
                break
            if time.perf_counter() - checkpointed >= self.settings.checkpoint_seconds:
                self.checkpoint()
                checkpointed = time.perf_counter()

    def _agree_to_stop(self) -> bool:
        if self.fabric.world_size > 1:
            self.stopped = self.fabric.broadcast(self.stopped)
        return self.stopped

    def _watch(self, step: Step, state: State) -> None:
        """Tell of updates that were skipped, and stop after too many in a row."""
        if not step.skipped:
            return
        if state.skipped_in_a_row == 1:
            self.told.say(f"step {step.number}: the loss is not finite; this update is skipped.")
        if state.skipped_in_a_row >= self.settings.patience:
            raise PinxitError(
                f"the loss was not finite for {self.settings.patience} updates in a row, up to "
                f"step {step.number}; the last good checkpoint is kept in {self.run.path}.\n"
                "Train again with a lower --learning-rate, or --precision fp32."
            )

    # -- what is decided ------------------------------------------------------------------------

    def validation(self) -> tuple[float, dict[str, float]]:
        """Loss and parts on the validation pictures, with the averaged weights and fixed noise."""
        module, size = self.trainer.module, self.settings.batch_size or 1
        totals: dict[str, float] = {}
        with averaged(self.trainer), torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(mix(self.settings.seed, -2))
            for start in range(0, len(self.valid), size):
                rows = self.valid[start : start + size]
                batch = self.pictures.batch(rows).to(self.fabric.device)
                loss = module.loss(batch, 1.0)  # type: ignore[operator]
                for name, value in {"loss": loss.total, **loss.parts}.items():
                    totals[name] = totals.get(name, 0.0) + float(value) * len(rows)
        means = {name: value / len(self.valid) for name, value in totals.items()}
        return means.pop("loss"), means

    def evaluate(self, step: Step | None) -> None:
        """Validate, keep the weights if they are the best, and draw."""
        state = self.trainer.state
        self.valid_parts: dict[str, float] = {}
        better = True
        if len(self.valid):
            self.latest, self.valid_parts = self.validation()
            better = self.latest < state.best
        if not self.leads:
            return
        with averaged(self.trainer):
            if better:
                state.best = math.inf if self.latest is None else self.latest
                self.keep()
            # a picture of what it makes now: the averaged weights, best or not
            numbers = self.valid[:SHOWN] if len(self.valid) else self.rows[:SHOWN]
            draw(self.trainer.module, self.run, state.step, self.pictures.take(numbers))

    def keep(self) -> None:
        """Write model.safetensors from the weights that the model has now."""
        from safetensors.torch import save

        tensors = self.trainer.module.state_dict()
        self.run.write(
            "model.safetensors", save({k: v.contiguous().cpu() for k, v in tensors.items()})
        )

    def record(self, step: Step, validated: bool) -> None:
        """A row of metrics.csv and a point of TensorBoard's curves."""
        if self.metrics is None:
            return
        state = self.trainer.state
        row = {
            "step": step.number,
            "pictures": step.number * (self.settings.batch_size or 1),
            "seconds": round(state.seconds, 3),
            "progress": round(step.progress, 6),
            "learning_rate": step.learning_rate,
            "grad_norm": round(step.norm, 4),
            "skipped": state.skipped,
            "loss": round(float(step.loss), 5),
            **{name: round(float(value), 5) for name, value in step.parts.items()},
        }
        if validated and self.latest is not None:
            row |= {"val_loss": round(self.latest, 5)}
            row |= {f"val_{k}": round(v, 5) for k, v in self.valid_parts.items()}
        self.metrics.add({k: v for k, v in row.items() if math.isfinite(v)})
        if self.settings.tensorboard:
            if self.events is None:
                self.events = EventFile(self.run.path / "tensorboard", step.number - 1)
            self.events.add(row, step.number)

    def checkpoint(self) -> None:
        if self.leads:
            save_checkpoint(self.run.path / "checkpoint", self.trainer)

    def finish(self) -> None:
        """The last checkpoint; at the end of the budget also the last look."""
        state = self.trainer.state
        if not self.stopped:
            self.evaluate(None)
        self.checkpoint()
        if self.leads:
            config = dict(self.run.config)
            config["finished"] = not self.stopped
            config["trained"] = {
                "steps": state.step,
                "pictures": state.step * (self.settings.batch_size or 1),
                "seconds": round(state.seconds, 1),
                "skipped": state.skipped,
                "best_validation_loss": None if math.isinf(state.best) else state.best,
            }
            self.run.write("config.json", config)


@contextmanager
def averaged(trainer: Trainer) -> Iterator[None]:
    """The model in evaluation mode with the averaged weights in place of its own."""
    parameters = [p.detach() for p in trainer.parameters]
    own = [p.clone() for p in parameters]
    torch._foreach_copy_(parameters, trainer.average)  # pyright: ignore[reportPrivateImportUsage]
    trainer.module.eval()
    try:
        yield
    finally:
        torch._foreach_copy_(parameters, own)  # pyright: ignore[reportPrivateImportUsage]
        trainer.module.train()


@contextmanager
def _stopping(stop: Callable[[], None]) -> Iterator[None]:
    """The first SIGINT or SIGTERM asks to stop after the step; a second SIGINT stops at once."""
    try:
        before = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}

        def ask(number: int, frame: Any) -> None:
            stop()
            signal.signal(signal.SIGINT, signal.default_int_handler)

        for number in before:
            signal.signal(number, ask)
    except ValueError:  # not the main thread: whoever owns it handles signals
        yield
        return
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
