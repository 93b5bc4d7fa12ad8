"""Models that contain another one, trained first: a flow its VAE, seq2seq its tokenizer."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

from pinxit.data.batch import DatasetInfo
from pinxit.models import family_of, get_family

MIN_COLOR_SIDE, MIN_GREY_SIDE = 32, 48  # pixels; smaller images do without by default


class Component(NamedTuple):
    """A model that is trained before the one that contains it."""

    option: str  # of the configuration: it names the component's run
    config: Any  # of the component
    share: float  # of the budget


def missing_component(config: Any, info: DatasetInfo) -> Component | None:
    """Return the component that a configuration needs and does not name, or None.

    A family with components has a function `component(config, info)`. Raises UsageError for options
    that these images do not allow, before an hour of training.
    """
    find = getattr(get_family(family_of(config)), "component", None)
    component = None if find is None else find(config, info)
    if component is not None:
        component.config.resolve(info)
        dataclasses.replace(config, **{component.option: "trained first"}).resolve(info)
    return component


def are_large(info: DatasetInfo) -> bool:
    """Return whether images are so large that a model of them works on an autoencoder's output."""
    side = MIN_COLOR_SIDE if info.channels == 3 else MIN_GREY_SIDE
    return min(info.height, info.width) >= side


def choose_family(info: DatasetInfo) -> tuple[str, str]:
    """Return the family that suits images best, and why."""
    if info.languages:
        return "flow", "the images have captions"
    if are_large(info):
        return "flow", f"images of {info.width} x {info.height}"
    return "vae", f"small images of {info.width} x {info.height} without captions"
