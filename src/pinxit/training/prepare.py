"""Load the images, resolve every open option and build the model."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pinxit.training.settings import TrainingSettings, default_batch_size, default_learning_rate

if TYPE_CHECKING:
    from pinxit.data.images import Images


@dataclass(frozen=True)
class TrainingPlan:
    """All that a training needs, with every choice made."""

    family: str
    config: Any
    settings: TrainingSettings
    images: Images
    model: Any
    tensors: dict[str, Any]  # of the model, taken from the images: a palette
    files: list[str]  # where DATA was several files

    def with_world_size(self, processes: int) -> TrainingPlan:
        """The same with a batch of equal shares for so many processes."""
        batch = max(1, (self.settings.batch_size or 1) // processes) * processes
        settings = dataclasses.replace(self.settings, batch_size=batch)
        return dataclasses.replace(self, settings=settings)


def prepare_training(
    model: Any, images: Any, settings: TrainingSettings, reading: dict[str, Any] | None = None
) -> TrainingPlan:
    """Open the images and make every open choice.

    `model` is a family's name or its `Config`, `images` are `Images` or what DATA may be,
    `reading` are options of `load_images`. Raises UsageError for what cannot be.
    """
    from pinxit.data.load import load_images
    from pinxit.models import build_model, family_of, get_family
    from pinxit.training.devices import default_device, resolve_precision
    from pinxit.training.precision import seconds_of_step

    config = get_family(model).Config() if isinstance(model, str) else model
    loaded = load_images(images, **(reading or {}))
    rows = loaded.split_indices("train")
    built, tensors = build_model(config, loaded, rows, settings.seed, _tokenizer(config))
    info = built.info
    parameters = sum(p.numel() for p in built.parameters())
    fit = (
        getattr(get_family(family_of(config)), "BATCH", None) if default_device() == "cpu" else None
    )
    batch = min(info.num_images, settings.batch_size or default_batch_size(info, fit))

    def step(bf16: bool) -> float:
        return seconds_of_step(built, loaded.batch(rows[:batch]), bf16)

    settings = dataclasses.replace(
        settings,
        batch_size=batch,
        learning_rate=settings.learning_rate or default_learning_rate(parameters),
        precision=resolve_precision(settings, step),  # a session that goes on must not choose again
    )
    return TrainingPlan(
        family_of(config), built.config, settings, loaded, built, tensors, _files(images)
    )


def _tokenizer(config: Any) -> Any:
    """The model of the run that a configuration's `tokens` names, if it names one.

    Raises UsageError where there is no such run, PinxitError where it is no tokenizer.
    """
    named = getattr(config, "image_tokenizer", None)
    if named is None:
        return None
    from pinxit.models.abilities import require
    from pinxit.runs import Run

    return require(Run(Path(named)).load(), "tokenize")


def _files(images: Any) -> list[str]:
    """The files, where DATA is several: their source's text does not name them."""
    several = isinstance(images, list | tuple) and len(images) > 1
    return [str(file) for file in images] if several else []
