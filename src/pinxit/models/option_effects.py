"""Options that have no effect without another one, or do not go together: errors, not dropped."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

from pinxit.data.batch import DatasetInfo
from pinxit.errors import UsageError


class Need(NamedTuple):
    """An option of a configuration, and what it needs to have an effect."""

    option: str
    needs: str  # as an error says it: "likelihood bernoulli"
    is_met: Callable[[Any], bool]  # by a resolved configuration


class Rule(NamedTuple):
    """Options that do not go together: an error where `applies` to a configuration."""

    applies: Callable[[Any], bool]
    message: str


DROPS_ALL_LABELS = Rule(
    lambda c: c.condition == "label" and c.label_dropout == 1,
    "label_dropout 1 drops every label, so that nothing is learned of them; give less, or leave "
    "out condition.",
)


def check_effects(config: Any, info: DatasetInfo) -> None:
    """Raise UsageError for an option of a configuration, as it was given, that has no effect.

    Also for what the images, or the `training_rules` of the configuration, do not allow.

    An option counts as given where its value is neither the default nor what is chosen without it.
    """
    for need in getattr(config, "option_needs", ()):
        given, default = getattr(config, need.option), _default(config, need.option)
        if given == default or need.is_met(config.resolve(info)):
            continue
        try:
            without = dataclasses.replace(config, **{need.option: default}).resolve(info)
        except UsageError:  # the option is needed
            continue
        if given != getattr(without, need.option):
            raise UsageError(f"{need.option} {given} has no effect here: it needs {need.needs}.")
    check_training_rules(config.resolve(info))


def check_training_rules(resolved: Any) -> None:
    """Raise UsageError for a resolved configuration of which a part would not be trained.

    Not where a run is loaded: earlier versions trained such.
    """
    for rule in getattr(resolved, "training_rules", ()):
        if rule.applies(resolved):
            raise UsageError(rule.message)


def _default(config: Any, name: str) -> Any:
    (field,) = (field for field in dataclasses.fields(config) if field.name == name)
    return field.default
