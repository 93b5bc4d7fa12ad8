"""Rebuild the state of a resumed session: settings, images and model."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING, Any

from pinxit.data.groups import NoGroups
from pinxit.data.images import Images
from pinxit.data.labels import make_label_names_unique, renumber_labels
from pinxit.data.load import Data, load_images
from pinxit.errors import PinxitError, UsageError
from pinxit.models.config import config_from_dict, make_config
from pinxit.runs import naming
from pinxit.training.processes import count_launched
from pinxit.training.saved_counters import read_counters
from pinxit.training.settings import BUDGETS, TrainingSettings
from pinxit.training.stages import subtract_budget

if TYPE_CHECKING:
    from pinxit.models.protocols import Model
    from pinxit.runs import Run


def resolve_resume_settings(run: Run, changes: dict[str, Any]) -> TrainingSettings:
    """Return the run's settings with changes; a new budget replaces the old one.

    Raises UsageError for invalid settings, for a finished run without a larger budget, and for a
    new budget that is spent already. No more processes start than this machine has cores,
    whatever the run recorded.
    """
    changes = {name: value for name, value in changes.items() if value is not None}
    if changes.get("keep") == "auto":  # it was chosen as the run was started
        del changes["keep"]
    new_budget = any(budget in changes for budget in BUDGETS)
    training = run.config["training"]
    if "log" in changes:  # what the recorded trackers need is not needed then
        training = {**training, "log": changes["log"], "tensorboard": False}
    with naming(run.path):
        recorded = config_from_dict(TrainingSettings, training)
    record = {**dataclasses.asdict(recorded), **changes}
    if launched := count_launched():  # as many as the launcher says, unless the call says more
        record |= {**launched, **changes}
    elif "devices" not in changes:
        record["devices"] = min(recorded.devices, max(2, os.cpu_count() or 1))
    if new_budget:
        record |= {budget: changes.get(budget) for budget in BUDGETS}
        _subtract_component(run, record)
    elif run.config.get("finished"):
        raise UsageError(
            f"{run.path} is finished; to train it further give a larger budget: "
            f"{run.resume_command} --epochs N (or --minutes, --steps)."
        )
    settings = make_config(TrainingSettings, record)
    if new_budget:
        _check_budget_is_larger(run, settings)
    return settings


def _subtract_component(run: Run, record: dict[str, Any]) -> None:
    """Take off a new budget, in place, what the training of the run's component had of it."""
    component = run.config.get("component")
    if component is not None and not component["pending"]:
        budget = {name: record[name] for name in BUDGETS}
        record |= subtract_budget(budget, component["budget"])


def _check_budget_is_larger(run: Run, settings: TrainingSettings) -> None:
    steps, seconds = _read_spent(run)
    total = settings.total_steps(run.info.num_images, settings.batch_size or 1)
    if steps >= total if total is not None else seconds >= (settings.seconds or 0):
        raise UsageError(
            f"{run.path} has already trained {steps:,} steps in {seconds / 60:.2f} minutes; "
            "give a larger budget to train it further."
        )


def _read_spent(run: Run) -> tuple[int, float]:
    """Return the steps and seconds that a run was trained: of its last checkpoint at least."""
    trained = run.config.get("trained") or {}
    steps, seconds = trained.get("steps", 0), trained.get("seconds", 0.0)
    if run.config.get("finished"):
        return steps, seconds
    counters = read_counters(run.path / "checkpoint")
    return max(steps, counters.get("step", 0)), max(seconds, counters.get("seconds", 0.0))


def reload_images(run: Run, images: Data | None = None, *, progress: bool = True) -> Images:
    """Load the run's images again and check their fingerprint; `images` replaces them.

    Raises UsageError if they have changed or have another shape.
    """
    record = run.config["data"]
    source = (record.get("files") or record.get("source")) if images is None else images
    if source is None or (images is None and not source):
        raise UsageError(
            f"{run.path} was trained on images given in Python; pass them to resume(run, images)."
        )
    try:
        loaded = _load(run, source, progress)
    except PinxitError as error:
        if images is not None:
            raise
        raise error.with_text(f"{error}\nIf the images of {run.path} have moved: --data") from None
    _check_shape(run, loaded)
    if loaded.fingerprint != record.get("fingerprint") and images is None:
        raise UsageError(
            f"the images of {loaded.source} have changed since {run.path} was created.\n"
            f"To continue with them as they are now: --data {loaded.source}; else train a new run."
        )
    return _match_labels(run, loaded)


def _load(run: Run, source: Data, progress: bool) -> Images:
    if isinstance(source, Images):
        return source
    try:
        return load_images(source, run.load_options, progress=progress)
    except NoGroups:  # an earlier version trained on data without bursts
        if run.load_options.group_by != "burst":
            raise
        return load_images(source, run.load_options, progress=progress, group_by="none")


def _match_labels(run: Run, images: Images) -> Images:
    """Number the labels as the model of a label-conditional run has learned them.

    Raises UsageError for images without labels, with others, or in a stream of another numbering.
    """
    names = run.info.label_names
    if run.config["model"].get("condition") != "label" or images.label_names == names:
        return images
    if images.labels is None or not images.label_names:
        raise UsageError(f"{run.path} is conditioned on labels, and these images have none.")
    known = make_label_names_unique(names)
    unknown = [name for name in make_label_names_unique(images.label_names) if name not in known]
    if unknown or images.stream is not None:
        what = ", ".join(unknown or images.label_names)
        raise UsageError(
            f"{run.path} is conditioned on the labels {', '.join(names)}; these images have "
            f"{what}.\nTo learn them, train a new run."
        )
    labels = renumber_labels(images.labels, images.label_names, names)
    return dataclasses.replace(images, labels=labels, label_names=names)


def _check_shape(run: Run, images: Images) -> None:
    expected = (run.info.height, run.info.width, run.info.channels)
    shape = images.pixels.shape[1:]
    if shape != expected:
        raise UsageError(
            f"{run.path} was trained on images of {'x'.join(map(str, expected))} "
            f"(height, width, channels), not {'x'.join(map(str, shape))}."
        )


def rebuild_model(run: Run, seed: int) -> Model:
    """Build the run's model again, with the initial weights that it had for this seed."""
    import torch  # imported once images and settings are known to be valid

    from pinxit.nn.rng import mix_seed

    torch.manual_seed(mix_seed(seed, -1))
    return run.build()
