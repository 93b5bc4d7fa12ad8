"""What a session that goes on begins with: its settings as they are now, its images as before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pinxit.errors import PinxitError, UsageError
from pinxit.models.config import config_from_dict
from pinxit.training.settings import BUDGETS, TrainingSettings

if TYPE_CHECKING:
    from pinxit.data.images import Images
    from pinxit.runs import Run


def settings_to_go_on(run: Run, changes: dict[str, Any]) -> TrainingSettings:
    """The run's settings with these changed; a budget among them replaces the one it had.

    Raises UsageError for a finished run and no larger budget, or for settings that cannot be.
    """
    given = {name: value for name, value in changes.items() if value is not None}
    kept = {**run.config["training"], **given}
    if any(budget in given for budget in BUDGETS):
        kept |= {budget: given.get(budget) for budget in BUDGETS}
    elif run.config.get("finished"):
        raise UsageError(
            f"{run.path} is finished; to train it further give a larger budget: "
            f"pinxit train --resume {run.path} --epochs N (or --minutes, --steps)."
        )
    settings = config_from_dict(TrainingSettings, kept)
    if run.config.get("finished"):
        _refuse_spent(run, settings)
    return settings


def _refuse_spent(run: Run, settings: TrainingSettings) -> None:
    done = run.config.get("trained") or {}
    steps, seconds = done.get("steps", 0), done.get("seconds", 0.0)
    total = settings.total_steps(run.info.num_images, settings.batch_size or 1)
    if steps >= total if total is not None else seconds >= (settings.seconds or 0):
        raise UsageError(
            f"{run.path} is finished after {steps:,} steps in {seconds / 60:.2f} minutes, which "
            "is this budget or more; a larger one takes it further."
        )


def reopened(run: Run, images: Any, quiet: bool) -> Images:
    """The run's images once more, held against the fingerprint of those that it began with.

    Raises UsageError where they have changed or are of another size, and no others are given.
    """
    from pinxit.data.load import load_images

    record, info = run.config["data"], run.info
    source = (record.get("files") or record["source"]) if images is None else images
    if images is None and not source:
        raise UsageError(f"{run.path} learned from images given in Python; give them again.")
    known = ("fit", "limit", "seed", "captions")
    reading = {k: record[k] for k in known if record.get(k) is not None}
    size, color = (info.height, info.width), "grey" if info.channels == 1 else "rgb"
    try:
        loaded = load_images(source, size=size, color=color, progress=not quiet, **reading)
    except PinxitError as error:
        if images is not None:
            raise
        raise type(error)(f"{error}\nIf the images of {run.path} have moved: --data") from None
    if loaded.pixels.shape[1:] != (*size, info.channels):
        shape, wanted = loaded.pixels.shape[1:], (*size, info.channels)
        raise UsageError(
            f"{run.path} learned from images of {'x'.join(map(str, wanted))} "
            f"(height, width, channels), not {'x'.join(map(str, shape))}."
        )
    if loaded.fingerprint != record["fingerprint"] and images is None:
        raise UsageError(
            f"the images of {loaded.source} have changed since {run.path} began.\n"
            "Go on with them as they are now by --data, or train anew."
        )
    return loaded
