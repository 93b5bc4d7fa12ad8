"""Settings files from Python: `pinxit.train(config="run.toml")` and `save_config="run.toml"`."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pinxit.data.images import Images
from pinxit.data.load_options import LoadOptions, make_load_options
from pinxit.data.sources import name_source
from pinxit.errors import UsageError
from pinxit.models import family_of
from pinxit.training.settings import BUDGETS
from pinxit.training.settings_file import (
    AUTO,
    SettingsFile,
    format_settings,
    read_settings,
)


def add_settings(
    config: str | Path, model: Any, images: Any, options: Mapping[str, Any]
) -> tuple[Any, Any, dict[str, Any]]:
    """Return model, images and options of `train`, with those of a settings file for what is open.

    A budget in `options` replaces another one of the file. Raises UsageError for an invalid file,
    and if both it and a `Config` have options of the model.
    """
    is_name = model is None or isinstance(model, str)
    settings = read_settings(config, model if is_name else family_of(model))
    if not is_name and (set_twice := settings.of("model")):
        raise UsageError(
            f"{settings.place(next(iter(set_twice)))}: options of the model are given twice; "
            f"give the family, '{settings.family}', in place of {model!r}."
        )
    # None is no budget: that of the file holds
    given = {name: v for name, v in options.items() if not (name in BUDGETS and v is None)}
    if set(BUDGETS) & given.keys():
        settings = settings.without_budget()
    for table in ("model", "training", "load"):
        if table != "model" or settings.family != AUTO:
            settings.build(table)  # errors with their lines
    if (load := given.pop("load", None)) is not None:
        given = _find_given(settings, load) | given
    data = settings.data[0] if len(settings.data) == 1 else list(settings.data) or None
    return (
        settings.family if is_name else model,
        data if images is None else images,
        settings.values | given,
    )


def _find_given(settings: SettingsFile, load: LoadOptions | Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of loading that were given: all of a dict, those changed of an object.

    Raises UsageError for a file that changes what is a default of the object: nobody knows whether
    that default was given.
    """
    if not isinstance(load, LoadOptions):
        values = make_load_options(load).to_json()
        return {name: values[name] for name in load}
    changed = _find_changed(load, LoadOptions())
    for name, value in settings.of("load").items():
        if name not in changed and value != getattr(load, name):
            raise UsageError(
                f"{settings.place(name)}: {name} is set here, and in LoadOptions, too; "
                f"give load={{'{name}': ...}} as a dict, or leave one out."
            )
    return changed


def settings_text(model: Any, images: Any, options: Mapping[str, Any]) -> str:
    """Return what was given to `train` as a settings file.

    Raises UsageError for images that have no name: `Images` rather than a folder or files.
    """
    if isinstance(images, Images):
        raise UsageError("save_config needs images by their name: a folder, files or a source.")
    is_one = isinstance(images, str | os.PathLike)
    items = [images] if is_one else images
    data = [name_source(item if isinstance(item, str) else Path(item)) for item in items]
    values = dict(options)
    if (load := values.pop("load", None)) is not None:
        values = _find_changed(make_load_options(load), LoadOptions()) | values
    if not isinstance(model, str):
        values |= _find_changed(model, type(model)())
    family = model if isinstance(model, str) else family_of(model)
    return format_settings(family, data, values)


def _find_changed(options: Any, default: Any) -> dict[str, Any]:
    """Return the fields of a dataclass that are not those of its default."""
    before, now = dataclasses.asdict(default), dataclasses.asdict(options)
    return {name: value for name, value in now.items() if value != before[name]}
