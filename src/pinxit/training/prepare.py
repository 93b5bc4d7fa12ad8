"""Load the images, build the model and choose every setting that was left open."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pinxit.console import pluralize
from pinxit.data.images import Images
from pinxit.data.load import Data, load_images
from pinxit.data.load_options import LoadOptions
from pinxit.models import build_model, family_of, get_family
from pinxit.models.abilities import require
from pinxit.models.protocols import Model
from pinxit.runs import Run
from pinxit.training.settings import TrainingSettings, default_batch_size, default_learning_rate

if TYPE_CHECKING:
    import numpy as np

SUMMARY_OPTIONS = ("network", "latent_dim", "width", "depth", "likelihood")
SUMMARY_OPTIONS += ("batch_size", "learning_rate")


@dataclass(frozen=True)
class TrainingPlan:
    """Everything that training needs: the model with its initial weights, data, final settings."""

    family: str
    config: Any
    settings: TrainingSettings
    load: LoadOptions
    images: Images
    model: Model
    fitted: dict[str, Any]  # tensors of the model fitted to the images before training: a palette
    files: list[str]  # the image files, if the data are several files

    @property
    def num_parameters(self) -> int:
        return sum(p.numel() for p in self.model.parameters())

    def with_world_size(self, world_size: int) -> TrainingPlan:
        """Return the plan with a batch size that `world_size` processes share equally."""
        assert self.settings.batch_size, "resolved settings"
        batch_size = max(1, self.settings.batch_size // world_size) * world_size
        settings = dataclasses.replace(self.settings, batch_size=batch_size)
        return dataclasses.replace(self, settings=settings)

    def options(self) -> dict[str, Any]:
        """Return all options of the model and of training by name, for display."""
        return {**dataclasses.asdict(self.config), **dataclasses.asdict(self.settings)}

    def summary(self) -> str:
        """Describe data, model size and the main options in one line."""
        info, options = self.model.info, self.options()
        color = "grey" if info.channels == 1 else "color"
        shown = [f"{k} {options[k]}" for k in SUMMARY_OPTIONS if options.get(k) is not None]
        return (
            f"{pluralize(info.num_images, 'training image')} of {info.width} x {info.height}, "
            f"{color}; {self.family} with {self.num_parameters:,} parameters: {', '.join(shown)}"
        )


def prepare_training(
    model: Any,
    images: Data,
    settings: TrainingSettings,
    load: LoadOptions | None = None,
    *,
    progress: bool = True,
) -> TrainingPlan:
    """Load the images, build the model and resolve the settings.

    `model` is the name of a family or its `Config`, `images` anything that `load_images` accepts.
    Raises UsageError for invalid options.
    """
    config = get_family(model).Config() if isinstance(model, str) else model
    load = load or LoadOptions()
    if load.data_seed is None:
        load = dataclasses.replace(load, data_seed=settings.seed)
    loaded = load_images(images, load, progress=progress)
    rows = loaded.split_indices("train")
    built, fitted = build_model(config, loaded, rows, settings.seed, _load_tokenizer(config))
    settings = _resolve_settings(settings, built, loaded, rows)
    return TrainingPlan(
        family=family_of(config),
        config=built.config,
        settings=settings,
        load=load,
        images=loaded,
        model=built,
        fitted=fitted,
        files=list_files(images),
    )


def _resolve_settings(
    settings: TrainingSettings, model: Model, images: Images, rows: np.ndarray
) -> TrainingSettings:
    """Return the settings with batch size, learning rate and precision chosen.

    They are recorded in config.json, so that a resumed session does not choose again.
    """
    from pinxit.training.devices import resolve_precision, training_device  # these import torch
    from pinxit.training.precision import time_step

    info = model.info
    family = get_family(family_of(model.config))
    max_batch_size = (
        getattr(family, "MAX_CPU_BATCH", None) if training_device(settings) == "cpu" else None
    )
    batch_size = min(
        info.num_images, settings.batch_size or default_batch_size(info, max_batch_size)
    )
    num_parameters = sum(p.numel() for p in model.parameters())
    return dataclasses.replace(
        settings,
        batch_size=batch_size,
        learning_rate=settings.learning_rate or default_learning_rate(num_parameters),
        precision=resolve_precision(
            settings, lambda bf16: time_step(model, images.batch(rows[:batch_size]), bf16)
        ),
    )


def _load_tokenizer(config: Any) -> Any:
    """Load the model of the run that `config.image_tokenizer` names; None if it names none.

    Raises UsageError if there is no such run, PinxitError if its model is not an image tokenizer.
    """
    path = getattr(config, "image_tokenizer", None)
    return None if path is None else require(Run(Path(path)).load(), "tokenize")


def list_files(images: Data) -> list[str]:
    """Return the file names if the data are a list of several files, else an empty list.

    `Images.source` names them in words only, so that a run records them.
    """
    if isinstance(images, str | Path | Images):
        return []
    return [str(file) for file in images] if len(images) > 1 else []
