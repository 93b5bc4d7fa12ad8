"""Load the images, build the model and choose every setting that was left open."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pinxit.console import echo, pluralize
from pinxit.data.images import Images
from pinxit.data.load import Data, load_images
from pinxit.data.load_options import LoadOptions
from pinxit.errors import PinxitError, UsageError
from pinxit.models import (
    COMPONENTS,
    FILE_COMPONENTS,
    build_model,
    component_of,
    family_of,
    get_family,
)
from pinxit.models.abilities import require
from pinxit.models.components import choose_family
from pinxit.models.protocols import Model
from pinxit.runs import Run
from pinxit.training.mirroring import MAX_AUGMENTED_IMAGES, resolve_augment
from pinxit.training.processes import current_processes
from pinxit.training.settings import TrainingSettings, default_batch_size, default_learning_rate

if TYPE_CHECKING:
    import numpy as np

# abilities whose images show the changes of the training images
GENERATING = {"sample", "complete", "draw", "edit", "caption", "translate"}
SUMMARY_OPTIONS = ("network", "levels", "latent_dim", "width", "depth", "likelihood")
SUMMARY_OPTIONS += ("batch_size", "learning_rate")


class TrainingData(NamedTuple):
    """Loaded images, and how to load them again."""

    images: Images
    load: LoadOptions
    files: list[str]  # the image files, if the data are several files
    requested: dict[str, Any] | None = None  # what `train` was called with


@dataclass(frozen=True)
class TrainingPlan:
    """Everything that training needs: the model with its initial weights, data, final settings."""

    family: str
    config: Any
    settings: TrainingSettings
    data: TrainingData
    model: Model
    fitted: dict[str, Any]  # tensors of the model fitted to the images before training: a palette

    @property
    def images(self) -> Images:
        return self.data.images

    @property
    def num_parameters(self) -> int:
        return sum(p.numel() for p in self.model.parameters())

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


def load_training_data(
    images: Data, load: LoadOptions, seed: int, *, progress: bool = True
) -> TrainingData:
    """Load training images: anything that `load_images` accepts."""
    if load.data_seed is None:
        load = dataclasses.replace(load, data_seed=seed)
    return TrainingData(load_images(images, load, progress=progress), load, list_files(images))


def choose_config(model: Any, images: Images, *, quiet: bool = False) -> Any:
    """Return the configuration of a model: the given one, of a family's name, or chosen.

    `auto` chooses a family from the images, and says which and why.
    """
    if not isinstance(model, str):
        return model
    if model != "auto":
        return get_family(model).Config()
    family, reason = choose_family(images.info(images.split_indices("train")))
    if not quiet:
        echo(f"family {family}: {reason}")
    return get_family(family).Config()


def prepare_training(
    config: Any,
    data: TrainingData,
    settings: TrainingSettings,
    component: Any = None,
    *,
    is_component: bool = False,
    is_second: bool = False,
    quiet: bool = False,
) -> TrainingPlan:
    """Build the model and resolve the settings.

    `component` is the model that the configured one contains; None: that of the run it names.
    `is_component`: of the configured one another model uses the reconstructions only. `is_second`:
    the options of two stages were checked before the first one.
    Raises UsageError for invalid options.
    """
    images = data.images
    rows = images.split_indices("train")
    is_alone = component is None and not is_component and not is_second
    if component is None:
        component = _load_component(config)
    built, fitted = build_model(config, images, rows, settings.seed, component)
    settings = choose_augment(config, images, settings, is_component=is_component, quiet=quiet)
    if is_alone:
        check_augment_until(settings)
    given, settings = settings, _resolve_settings(settings, built, images, rows)
    most = built.info.num_images
    if given.batch_size and given.batch_size > most and not quiet:
        echo(f"batches of {most} images, not {given.batch_size}: there are no more to train on")
    check_model_settings(built, settings)
    return TrainingPlan(
        family=family_of(config),
        config=built.config,
        settings=settings,
        data=data,
        model=built,
        fitted=fitted,
    )


def choose_augment(
    config: Any,
    images: Images,
    settings: TrainingSettings,
    *,
    is_component: bool = False,
    quiet: bool = False,
) -> TrainingSettings:
    """Return the settings with the changes of training images that suit a model and its images."""
    reconstructs = is_component or _only_reconstructs(config)
    max_images = getattr(get_family(family_of(config)), "MAX_AUGMENTED", MAX_AUGMENTED_IMAGES)
    rows = images.split_indices("train")
    augment = resolve_augment(
        settings, images, rows, reconstructs=reconstructs, max_images=max_images, quiet=quiet
    )
    return dataclasses.replace(settings, augment=augment)


def check_augment_until(*stages: TrainingSettings) -> None:
    """Raise UsageError for an end of augmentation where no stage has any."""
    if stages[0].augment_until < 1 and not any(stage.augment_kinds for stage in stages):
        raise UsageError("augment_until has no effect: these images are not changed; see augment.")


def check_model_settings(model: Model, settings: TrainingSettings) -> None:
    """Raise UsageError for settings of training that a model does not go with."""
    from torch import nn

    from pinxit.training.muon import find_hidden_matrices

    check_whole_batches(model, settings)
    assert isinstance(model, nn.Module)
    if settings.optimizer == "muon" and not find_hidden_matrices(model):
        raise UsageError(
            "--optimizer muon needs a model with transformer layers or residual convolutions; "
            "use adamw."
        )


def check_whole_batches(model: Model, settings: TrainingSettings) -> None:
    """Raise UsageError for a divided batch, or a single image, if the loss needs whole batches.

    A family's model names the options that do in `whole_batch_options`.
    """
    names: tuple[str, ...] = getattr(model, "whole_batch_options", ())
    if not names:
        return
    option = "--" + names[0].replace("_", "-")
    num_processes = max(settings.devices * settings.nodes, current_processes().world_size)
    if settings.accumulate > 1 or num_processes > 1:
        raise UsageError(
            f"{option} is of a batch as a whole; it does not go with --accumulate, --devices or "
            "--nodes above 1."
        )
    if settings.batch_size == 1:
        raise UsageError(f"{option} compares images of a batch; give --batch-size 2 or more.")


def _only_reconstructs(config: Any) -> bool:
    return not GENERATING & set(get_family(family_of(config)).ABILITIES)


def _resolve_settings(
    settings: TrainingSettings, model: Model, images: Images, rows: np.ndarray
) -> TrainingSettings:
    """Return the settings with batch size, learning rate and precision chosen.

    They are recorded in config.json, so that a resumed session does not choose again.
    """
    from pinxit.training.accelerators import training_device
    from pinxit.training.devices import resolve_precision  # imports torch
    from pinxit.training.precision import time_step

    info = model.info
    family = get_family(family_of(model.config))
    max_batch_size = None
    if training_device(settings) == "cpu" and hasattr(family, "max_cpu_batch"):
        max_batch_size = family.max_cpu_batch(model.config)
    batch_size = min(
        info.num_images, settings.batch_size or default_batch_size(info, max_batch_size)
    )
    num_parameters = sum(p.numel() for p in model.parameters())
    factor = 1.0
    if hasattr(family, "learning_rate_factor"):
        factor = family.learning_rate_factor(model.config)
    keep = settings.keep
    if keep == "auto":
        keep = family.default_keep(model.config) if hasattr(family, "default_keep") else "best"
    return dataclasses.replace(
        settings,
        keep=keep,
        batch_size=batch_size,
        learning_rate=settings.learning_rate or factor * default_learning_rate(num_parameters),
        precision=resolve_precision(
            settings, lambda bf16: time_step(model, images.batch(rows[:batch_size]), bf16)
        ),
    )


def _load_component(config: Any) -> Any:
    """Load the model of the run that a configuration names in an option of `COMPONENTS`, or None.

    Raises UsageError if there is no such run, and if its model is of another kind.
    """
    option = component_of(config)
    if option is None:
        return None
    name = getattr(config, option)
    if option in FILE_COMPONENTS and Path(name).is_file():
        return None
    model = Run(Path(name)).load()
    try:
        return require(model, COMPONENTS[option][1])
    except PinxitError as error:
        raise UsageError(f"--{option.replace('_', '-')} {name}: {error}") from None


def list_files(images: Data) -> list[str]:
    """Return the file names if the data are a list of several files, else an empty list.

    `Images.source` names them in words only, so that a run records them.
    """
    if isinstance(images, str | Path | Images):
        return []
    return [str(file) for file in images] if len(images) > 1 else []
