"""One session of training: from where the last checkpoint stands to the end of the budget.

Runs the loop, and decides when to report, evaluate, draw, checkpoint and stop.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import torch

from pinxit.data.images import Images
from pinxit.errors import PinxitError
from pinxit.nn.rng import mix_seed
from pinxit.runs import Run
from pinxit.training.checkpoint import (
    has_checkpoint,
    load_checkpoint,
    remove_unfinished,
    save_checkpoint,
)
from pinxit.training.devices import set_up_fabric as set_up_fabric
from pinxit.training.loop import Counters, Step, TrainState, train_steps
from pinxit.training.metrics_log import EventFile, Metrics
from pinxit.training.optimizers import build_optimizer
from pinxit.training.previews import draw
from pinxit.training.progress import Progress
from pinxit.training.schedule import Clock
from pinxit.training.settings import TrainingSettings
from pinxit.training.signals import stop_on_signal
from pinxit.training.validation import ema_weights, validate

if TYPE_CHECKING:
    from lightning_fabric import Fabric

VALIDATION = 2048  # images at most that the best weights are chosen by
SHOWN = 12  # images whose reconstructions are drawn as it learns
ROWS = 200  # of metrics.csv over a budget


class Session:
    """A model, its data and its run folder while it trains."""

    def __init__(
        self,
        run: Run,
        images: Images,
        settings: TrainingSettings,
        fabric: Fabric,
        clock: Clock,
        quiet: bool = False,
    ) -> None:
        self.run, self.images, self.settings, self.fabric = run, images, settings, fabric
        self.rows = images.split_indices("train")
        valid = images.split_indices("validation") if images.splits is not None else self.rows[:0]
        self.valid = valid[:VALIDATION]
        self.trainer = trainer_of(run, settings, fabric)
        self.clock, self.budget = clock, settings.seconds
        assert settings.batch_size, "resolved settings"
        self.batch = settings.batch_size
        self.total = settings.total_steps(len(self.rows), self.batch)
        self.told = Progress(self.batch, quiet or not self.leads)
        self.metrics: Metrics | None = None
        self.events: EventFile | None = None
        self.asked = False  # to stop
        self.stopped = False  # as all processes agreed to
        self.last: Step | None = None
        self.evaluated: int | None = None  # the step that was evaluated last
        self.validation: dict[str, float] = {}
        self.evaluating = 0.0  # seconds that evaluations took in this session

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes."""
        return self.fabric.is_global_zero

    def progress(self, state: Counters) -> float:
        """Share of the budget that is spent; of several processes the leader's clock counts."""
        state.seconds = self.clock.seconds
        if self.total is not None:
            now = state.step / self.total
        else:
            assert self.budget
            now = state.seconds / self.budget
        self.stopped = self.asked
        if self.fabric.world_size > 1:
            now, self.stopped = self.fabric.broadcast((now, self.stopped))
        return now

    def go(self, resumed: bool) -> None:
        """Train to the end of the budget, or until stopped; leaves a checkpoint either way.

        Raises PinxitError after too many updates in a row that were not finite.
        """
        state = self.trainer.state
        try:
            if resumed:
                self._go_on(state)
            self.begun = state.step
            if self.leads:
                self.metrics = Metrics(self.run.path / "metrics.csv", state.step)
            with stop_on_signal(self._ask):  # of several processes the leader's word counts
                self.trainer.module.train()
                self._train(state)
                self._finish(state)
        finally:
            self.told.stop()
            if self.events:
                self.events.close()

    def _ask(self) -> None:
        self.asked = True

    def _go_on(self, state: Counters) -> None:
        folder, word = self.run.path / "checkpoint", None
        # a run that was killed before its first checkpoint has trained nothing yet
        if has_checkpoint(folder) or self.run.weights.is_file():
            word = load_checkpoint(folder, self.trainer)
        if self.leads:
            remove_unfinished(self.run.path)
        self.clock.before += state.seconds
        if word:
            self.told.say(word)

    def _train(self, state: Counters) -> None:
        checkpointed = time.perf_counter()
        if state.step == 0:
            self.checkpoint()
        steps = train_steps(self.trainer, self.images, self.rows, self.settings, self.progress)
        for step in steps:
            self.last = step
            self._watch(step, state)
            passed = step.passed(self.settings.num_evals) and self._affordable(step)
            if passed:
                self.evaluate()
            if passed or step.passed(ROWS):
                self.record(step)
            self.told.step(step, self.validation.get("loss"))
            if self.stopped:
                break
            if time.perf_counter() - checkpointed >= self.settings.checkpoint_seconds:
                self.checkpoint()
                checkpointed = time.perf_counter()
        if state.step == 0:
            raise PinxitError(
                f"{60 * (self.settings.minutes or 0):.2g} s were over before the first step; "
                f"go on with: pinxit train --resume {self.run.path} --minutes N"
            )

    def _watch(self, step: Step, state: Counters) -> None:
        """Tell of updates that were skipped, and stop after too many in a row."""
        if not step.skipped:
            return
        if state.skipped_in_a_row == 1:
            self.told.say(f"step {step.number}: the loss is not finite; this update is skipped.")
        if state.skipped_in_a_row >= self.settings.max_skipped_updates:
            raise PinxitError(
                "the loss was not finite for "
                f"{self.settings.max_skipped_updates} updates in a row, up to "
                f"step {step.number}; the last good checkpoint is kept in {self.run.path}.\n"
                "Train again with a lower --learning-rate, or --precision fp32."
            )

    def _affordable(self, step: Step) -> bool:
        """Whether evaluations took less than a tenth of a budget of minutes so far; the last one,
        and those of a budget of steps, are always made."""
        counted = self.total is not None or step.progress >= 1
        return counted or self.evaluating <= 0.1 * self.trainer.state.seconds

    def evaluate(self) -> None:
        """Validate, keep the weights if they are the best, and draw."""
        if not self.leads:
            return
        begun = time.perf_counter()
        self._evaluate()
        self.evaluating += time.perf_counter() - begun

    def _evaluate(self) -> None:
        state = self.trainer.state
        self.evaluated, better = state.step, True
        if len(self.valid):
            self.validation = validate(
                self.trainer, self.images, self.valid, self.batch, self.settings.seed
            )
            # the first is kept even where it is not a number: there are weights from then on
            better = self.validation["loss"] < state.best or not self.run.weights.is_file()
        with ema_weights(self.trainer):
            if better:
                best = self.validation.get("loss", math.inf)
                state.best = best if math.isfinite(best) else math.inf
                self.keep()
            # an image of what it makes now: the averaged weights, best or not
            numbers = self.valid[:SHOWN] if len(self.valid) else self.rows[:SHOWN]
            draw(self.trainer.module, self.run, state.step, self.images.take(numbers))

    def keep(self) -> None:
        """Write model.safetensors from the weights that the model has now."""
        from safetensors.torch import save

        tensors = self.trainer.module.state_dict()
        self.run.write(
            "model.safetensors", save({k: v.contiguous().cpu() for k, v in tensors.items()})
        )

    def record(self, step: Step) -> None:
        """A row of metrics.csv and a point of TensorBoard's curves."""
        if self.metrics is None:
            return
        row = self._row(step)
        self.metrics.add(row)
        if self.settings.tensorboard:
            if self.events is None:
                self.events = EventFile(self.run.path / "tensorboard", self.begun)
            self.events.add(row, step.number)

    def _row(self, step: Step) -> dict[str, float]:
        """What is known at a step; what is not finite is left out."""
        state = self.trainer.state
        row = {
            "step": step.number,
            "images": step.number * self.batch,
            "seconds": round(state.seconds, 3),
            "progress": round(step.progress, 6),
            "learning_rate": step.learning_rate,
            "grad_norm": round(step.norm, 4),
            "skipped": state.skipped,
            "loss": round(float(step.loss), 5),
            **{name: round(float(value), 5) for name, value in step.parts.items()},
        }
        if self.evaluated == step.number:
            row |= {f"val_{name}": round(value, 5) for name, value in self.validation.items()}
        return {name: value for name, value in row.items() if math.isfinite(value)}

    def checkpoint(self) -> None:
        """Write all that resuming needs."""
        if self.leads:
            save_checkpoint(self.run.path / "checkpoint", self.trainer)

    def _finish(self, state: Counters) -> None:
        """The last look, unless the last step had it, and the last checkpoint."""
        finished = not self.stopped
        if finished and self.evaluated != state.step:
            self.evaluate()
            if self.last is not None:
                self.record(self.last)
        self.checkpoint()
        if self.leads:
            self._conclude(state, finished)
        self.fabric.barrier()  # no process ends before the leader has written

    def _conclude(self, state: Counters, finished: bool) -> None:
        trained: dict[str, Any] = {
            "steps": state.step,
            "images": state.step * self.batch,
            "seconds": round(state.seconds, 1),
            "skipped": state.skipped,
            "best_validation_loss": None if math.isinf(state.best) else state.best,
            "unit": self.last.unit if self.last else self.run.config.get("trained", {}).get("unit"),
        }
        self.run.write("config.json", {**self.run.config, "finished": finished, "trained": trained})
        if finished and self.last is not None:
            self.told.end(self.last, trained)


def trainer_of(run: Run, settings: TrainingSettings, fabric: Fabric) -> TrainState:
    """The model with fresh weights of the seed, its optimizer and its average, on the device."""
    torch.manual_seed(mix_seed(settings.seed, -1))
    module = run.build()
    optimizer = build_optimizer(module, settings)
    model, optimizer = fabric.setup(module, optimizer)
    model.mark_forward_method("loss")
    average = [p.detach().clone() for p in model.module.parameters()]
    return TrainState(fabric, model, optimizer, average, Counters())
