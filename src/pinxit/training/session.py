"""One session of training: from the last checkpoint to the end of the budget.

Runs the loop and decides when to report, validate, draw, save a checkpoint and stop.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from safetensors.torch import save
from torch import nn

from pinxit.console import format_duration
from pinxit.data.images import Images
from pinxit.data.row_samples import sample_rows
from pinxit.errors import PinxitError
from pinxit.models import get_family
from pinxit.models.protocols import Model
from pinxit.runs import Run
from pinxit.training.checkpoint import CheckpointWriter, has_checkpoint, load_checkpoint
from pinxit.training.examples import save_examples
from pinxit.training.loop import (
    Counters,
    StepResult,
    create_train_state,
    sum_of_numbers,
    train_steps,
)
from pinxit.training.metrics_log import MetricsLog, describe_step
from pinxit.training.model_card import write_model_card
from pinxit.training.posterior_recorder import PosteriorRecorder
from pinxit.training.previews import save_previews
from pinxit.training.progress import ProgressLine
from pinxit.training.schedule import Clock
from pinxit.training.settings import TrainingSettings
from pinxit.training.signals import stop_on_signal
from pinxit.training.trackers import Trackers
from pinxit.training.validation import ema_weights, validate, whole_model
from pinxit.training.verdict import assess

if TYPE_CHECKING:
    from lightning_fabric import Fabric

MAX_VALIDATION_IMAGES = 2048  # of every label its share, on which the best weights are selected
NUM_PREVIEW_IMAGES = 12  # images that are reconstructed, captioned, ... at each evaluation
NUM_METRICS_ROWS = 200  # rows of metrics.csv over a budget
PATIENCE = 1 / 3  # of the budget without a lower validation loss, after which training ends
MIN_PATIENCE_EVALS = 4  # evaluations without a lower one, at least
MIN_STEPS = 50  # that a budget of minutes allows, however short it is
MAX_EVAL_FRACTION = 0.1  # of the time: evaluations of a budget of minutes, previews of any budget
FREE_PREVIEW_SECONDS = 5.0  # that previews may take in any case


class Session:
    """A model, its data and its run folder while it trains."""

    def __init__(
        self,
        run_folder: Run,
        model: Model,
        images: Images,
        settings: TrainingSettings,
        fabric: Fabric,
        clock: Clock,
        *,
        quiet: bool = False,
    ) -> None:
        self.run_folder, self.images, self.settings = run_folder, images, settings
        self.config = model.config
        self.fabric, self.clock = fabric, clock
        self.train_rows = images.split_indices("train")
        self.valid_rows = self.train_rows[:0]
        if images.splits is not None:
            valid_rows = images.split_indices("validation")
            self.valid_rows = sample_rows(images, valid_rows, MAX_VALIDATION_IMAGES, settings.seed)
        preview_rows = self.valid_rows if len(self.valid_rows) else self.train_rows
        self.preview_rows = sample_rows(images, preview_rows, NUM_PREVIEW_IMAGES, settings.seed)
        self.state = create_train_state(model, settings, fabric)
        self.posteriors = PosteriorRecorder(run_folder, self.state, images, preview_rows)
        assert settings.batch_size, "resolved settings"
        self.batch_size = settings.batch_size
        self.total_steps = settings.total_steps(images.count_training(), self.batch_size)
        self.console = ProgressLine(self.batch_size, quiet or not self.is_main)
        self.metrics_log: MetricsLog | None = None
        self.trackers = Trackers(run_folder, self.console.print)
        self.stop_requested = False  # in this process
        self.stopped = False  # in all processes
        self.checkpoints = CheckpointWriter(run_folder.path / "checkpoint")
        self.checkpoint_time = time.perf_counter()  # of the last one
        self.checkpoint_due = False
        self.start_step = 0
        self.last_step: StepResult | None = None
        self.last_eval_step: int | None = None
        self.val_metrics: dict[str, float] = {}
        self.val_loss: float | None = None  # the last one, also of an earlier session
        self.eval_seconds = 0.0  # in this session
        self.preview_seconds: list[float] = []  # of each preview in this session
        self.left_out_previews = False
        self.levelled_off = False
        self.startup_seconds = 0.0  # before the first step of this session

    @property
    def is_main(self) -> bool:
        """Whether this is the main process, which writes the files."""
        return self.fabric.is_global_zero

    def run(self, resumed: bool = False) -> None:
        """Train to the end of the budget or until stopped, and save a checkpoint.

        Raises PinxitError after too many consecutive updates with a loss that is not finite.
        """
        counters = self.state.counters
        try:
            if resumed:
                self._resume(counters)
            self.start_step = counters.step
            self.posteriors.start(counters.step)
            if self.is_main:
                self.metrics_log = MetricsLog(self.run_folder.path / "metrics.csv", counters.step)
                if resumed:
                    self._announce_resume(counters)
                self.trackers.open(self.settings.log, counters.step)
                save_examples(self.run_folder, self.images)
            self.startup_seconds = self.clock.restart()
            with stop_on_signal(self._request_stop):
                self.state.module.train()
                self._train(counters)
                self._finish(counters)
        finally:
            self.console.close()
            self.checkpoints.close()
            self.trackers.close()

    def measure_progress(self, counters: Counters) -> float:
        """Return the fraction of the budget that is spent.

        Also decides whether a checkpoint is due, and stops all processes if one should. The clock
        of several processes is that of the main one.
        """
        now = time.perf_counter()
        due = now - self.checkpoint_time >= self.settings.checkpoint_seconds
        main = [self.clock.seconds, float(due)] if self.is_main else [0.0, 0.0]
        numbers = sum_of_numbers(self.fabric, [*main, float(self.stop_requested)])
        counters.seconds, self.checkpoint_due = numbers[0], numbers[1] > 0
        self.stopped = numbers[2] > 0
        progress = self._fraction_of_budget(counters.step, counters.seconds)
        if self.total_steps is None and counters.step < MIN_STEPS:
            progress = min(progress, counters.step / MIN_STEPS)
        if self._has_levelled_off(counters):
            progress = 1.0
        return progress

    def _fraction_of_budget(self, step: int, seconds: float) -> float:
        if self.total_steps is not None:
            return step / self.total_steps
        assert self.settings.seconds
        return seconds / self.settings.seconds

    def _has_levelled_off(self, counters: Counters) -> bool:
        """Return whether the best weights are kept, and no better ones are to be expected."""
        if self.settings.keep == "last" or not len(self.valid_rows):
            return False
        last = self._fraction_of_budget(counters.eval_step, counters.eval_seconds)
        best = self._fraction_of_budget(counters.best_step, counters.best_seconds)
        best = max(best, self._last_change())  # what begins or ends there may bring better ones
        return last - best >= max(PATIENCE, MIN_PATIENCE_EVALS / self.settings.num_evals)

    def _last_change(self) -> float:
        """Return the fraction of training at which the loss, or the images, change last."""
        family = get_family(self.run_folder.family)
        of_loss = family.last_change(self.config) if hasattr(family, "last_change") else 0.0
        until = self.settings.augment_until
        return max(of_loss, until if until < 1 and self.settings.augment_kinds else 0.0)

    def _request_stop(self) -> None:
        self.stop_requested = True

    def _resume(self, counters: Counters) -> None:
        folder, warning = self.run_folder.path / "checkpoint", None
        # a run that was killed before its first checkpoint starts from the beginning
        if has_checkpoint(folder) or self.run_folder.weights_path.is_file():
            warning = load_checkpoint(folder, self.state)
        self.clock.elapsed_before += counters.seconds
        if warning:
            self.console.print(warning)

    def _announce_resume(self, counters: Counters) -> None:
        """Print where the run continues, and find the validation loss that it had there."""
        rows = self.run_folder.metrics()
        self.val_loss = next((row["val_loss"] for row in reversed(rows) if "val_loss" in row), None)
        if self.total_steps is not None:
            budget = f" of {self.total_steps:,}"
        else:
            done, total = counters.seconds, self.settings.seconds or 0.0
            budget = f", after {format_duration(done)} of {format_duration(total)}"
        self.console.print(f"continuing from step {counters.step:,}{budget}")

    def _train(self, counters: Counters) -> None:
        self.checkpoint_time = time.perf_counter()
        if counters.step == 0:
            self.save_checkpoint()
        for step in train_steps(
            self.state, self.images, self.train_rows, self.settings, self.measure_progress
        ):
            self.last_step = step
            self.posteriors.record(step)
            self._check_finite(step, counters)
            self._record_unit(step)
            evaluate = step.crosses(self.settings.num_evals) and self._within_eval_budget(step)
            if evaluate:
                self.evaluate()
            if evaluate or step.crosses(NUM_METRICS_ROWS):
                self.log_metrics(step)
            self.console.update(step, self.val_loss)
            if self.stopped:
                break
            if self.checkpoint_due:
                self.save_checkpoint()
                self.checkpoint_time = time.perf_counter()

    def _record_unit(self, step: StepResult) -> None:
        """Record the unit of the loss in config.json, before the first row of metrics.csv."""
        if self.is_main and self.run_folder.config.get("loss_unit") != step.unit:
            config = {**self.run_folder.config, "loss_unit": step.unit}
            self.run_folder.write("config.json", config)
            self.run_folder = Run(self.run_folder.path)

    def _check_finite(self, step: StepResult, counters: Counters) -> None:
        """Report a skipped update, and stop after too many in a row."""
        if not step.skipped:
            return
        if counters.skipped_in_a_row == 1:
            self.console.print(f"step {step.step}: the loss is not finite; update skipped.")
        if counters.skipped_in_a_row >= self.settings.max_skipped_updates:
            if not self.is_main:
                raise SystemExit(PinxitError.exit_code)
            raise PinxitError(
                f"the loss was not finite for {self.settings.max_skipped_updates} updates in a "
                f"row, up to step {step.step}. Train again with a lower --learning-rate or "
                f"--precision fp32.\nThe last good checkpoint is in {self.run_folder.path}."
            )

    def _within_eval_budget(self, step: StepResult) -> bool:
        """Return whether there is time to evaluate.

        With a budget of minutes, evaluations are left out once they have taken a tenth of the time;
        the last one is never left out.
        """
        if self.total_steps is not None or step.progress >= 1:
            return True
        return self.eval_seconds <= MAX_EVAL_FRACTION * self.state.counters.seconds

    def evaluate(self) -> None:
        """Validate the averaged weights, save them if they are the best, and save previews.

        All processes validate; the main one writes.
        """
        start = time.perf_counter()
        counters = self.state.counters
        self.last_eval_step = counters.step
        if len(self.valid_rows):
            self.val_metrics = validate(
                self.state,
                self.images,
                self.valid_rows,
                self.batch_size,
                self.settings.seed,
                self.settings.accumulate,
            )
            self.val_loss = self.val_metrics.get("loss")
        is_best = self._is_best(counters)
        if is_best:
            loss = self.val_metrics.get("loss", math.inf)
            counters.best_loss = loss if math.isfinite(loss) else math.inf
            counters.best_step, counters.best_seconds = counters.step, counters.seconds
        with ema_weights(self.state), whole_model(self.state) as model:
            if model is not None:  # in the main process
                if is_best or self.settings.keep == "last":
                    self.save_weights(model)
                examples = self.images.take(self.preview_rows)
                if self._within_preview_budget(counters):
                    self._preview(model, examples)
        taken = time.perf_counter() - start if self.is_main else 0.0
        self.eval_seconds += sum_of_numbers(self.fabric, [taken])[0]
        counters.eval_step, counters.eval_seconds = counters.step, counters.seconds
        before, self.levelled_off = self.levelled_off, self._has_levelled_off(counters)
        if self.levelled_off and not before and not self._is_over(counters):
            self.console.print(
                f"the validation loss was lowest at step {counters.best_step:,}, whose weights are "
                "kept: training ends here (--keep last goes on)"
            )

    def _within_preview_budget(self, counters: Counters) -> bool:
        """Return whether there is time for previews; the last ones are never left out."""
        if self._is_over(counters) or not self.preview_seconds:
            return True
        allowed = max(FREE_PREVIEW_SECONDS, MAX_EVAL_FRACTION * counters.seconds)
        within = sum(self.preview_seconds) + self.preview_seconds[-1] <= allowed
        if not within and not self.left_out_previews:
            self.left_out_previews = True
            self.console.print(
                f"sample grids take {format_duration(self.preview_seconds[-1])} each: some are "
                "left out, so that they take at most a tenth of the time"
            )
        return within

    def _preview(self, model: nn.Module, examples: Images) -> None:
        """Write what the model generates, and show it."""
        start, step = time.perf_counter(), self.state.counters.step
        save_previews(model, self.run_folder, step, examples)
        self.trackers.append_previews(step)
        self.console.show_samples(self.run_folder.path / "samples", step)
        self.preview_seconds.append(time.perf_counter() - start)

    def _is_over(self, counters: Counters) -> bool:
        return self._fraction_of_budget(counters.step, counters.seconds) >= 1

    def _is_best(self, counters: Counters) -> bool:
        """Return whether the validation loss has improved; always true without validation images.

        The first weights are saved even if their loss is not finite, so that there are some.
        """
        if not len(self.valid_rows):
            return True
        better = self.val_metrics["loss"] < counters.best_loss
        is_first = self.is_main and not self.run_folder.weights_path.is_file()
        return better or sum_of_numbers(self.fabric, [float(is_first)])[0] > 0

    def save_weights(self, model: nn.Module) -> None:
        """Write a model's weights to model.safetensors."""
        tensors = model.state_dict()
        content = save({k: v.contiguous().cpu() for k, v in tensors.items()})
        self.run_folder.write("model.safetensors", content)

    def log_metrics(self, step: StepResult) -> None:
        """Append a row to metrics.csv and to the curves of the trackers."""
        values = [float(value) for value in step.parts.values()]
        parts = dict(zip(step.parts, sum_of_numbers(self.fabric, values), strict=True))
        if self.metrics_log is None:
            return
        val_metrics = self.val_metrics if self.last_eval_step == step.step else {}
        row = describe_step(step, parts, self.state.counters, self.batch_size, val_metrics)
        self.metrics_log.append(row)
        self.trackers.append(row, step.step)

    def save_checkpoint(self) -> None:
        """Write everything that resuming needs, while training goes on."""
        if self.is_main or self.state.is_sharded:
            self.checkpoints.save(self.state)

    def _finish(self, counters: Counters) -> None:
        """Evaluate once more, unless the last step did, and save the last checkpoint."""
        finished = not self.stopped
        if finished and self.last_eval_step != counters.step:
            self.evaluate()
            if self.last_step is not None:
                self.log_metrics(self.last_step)
        self.save_checkpoint()
        self.checkpoints.wait()
        self.fabric.barrier()  # the parts of all processes are written
        if self.is_main:
            self._write_summary(counters, finished)
        self.fabric.barrier()  # no process ends before the main one has written

    def _write_summary(self, counters: Counters, finished: bool) -> None:
        """Record in config.json what was trained; it is the last file that says so.

        A run whose model card could not be written is thus not finished: it can be resumed.
        """
        config, last = self.run_folder.config, self.last_step
        trained: dict[str, Any] = {
            "steps": counters.step,
            "images_seen": counters.step * self.batch_size,
            "seconds": round(counters.seconds, 3),
            "startup_seconds": round(self.startup_seconds, 1),
            "skipped": counters.skipped,
            "best_step": counters.best_step or None,
            "best_validation_loss": None if math.isinf(counters.best_loss) else counters.best_loss,
            "unit": last.unit if last else (config.get("trained") or {}).get("unit"),
        }
        config = {**config, "finished": finished, "trained": trained}
        if finished:
            write_model_card(self.run_folder, config)
        self.run_folder.write("config.json", config)
        if finished and last is not None:
            self.console.finish(last, trained)
            self.console.print(f"verdict: {assess(Run(self.run_folder.path))}")
