"""Train a model and, before it, the one that it contains, in one run folder.

    RUN/config.json   the model's; its `component` says what is trained first, and if it is done
    RUN/vae/          the run of a VAE, complete, which a flow contains (for example)

A budget is divided by the component's share. Interrupted in either stage, `resume` goes on there.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from pinxit.console import format_duration
from pinxit.errors import UsageError
from pinxit.models import family_of, get_family
from pinxit.models.components import Component
from pinxit.models.config import config_from_dict
from pinxit.run_records import ComponentRecord
from pinxit.runs import Run
from pinxit.training.settings import BUDGETS, DEFAULT_MINUTES, TrainingSettings

# settings that a resumed session may change
OF_A_SESSION = (
    "device", "devices", "nodes", "strategy", "accumulate", "log", "tensorboard", "keep",
)  # fmt: skip
OWN = ("batch_size", "learning_rate", "optimizer")  # that the component chooses for itself


@dataclasses.dataclass(frozen=True)
class Stages:
    """What is trained first, and the settings of both stages."""

    component: Component
    first: TrainingSettings
    second: TrainingSettings

    @classmethod
    def of(cls, component: Component, settings: TrainingSettings) -> Stages:
        """Divide the budget of the settings; every other setting is that of both stages.

        Batch size, learning rate and optimizer are those of the model: the component chooses its
        own.
        """
        first, second = divide_budget(settings, component.share)
        own = {name: getattr(TrainingSettings(), name) for name in OWN}
        return cls(component, dataclasses.replace(first, **own), second)

    def settings_to_resume(self, component: Run) -> TrainingSettings:
        """Return the settings of the component's run, with its share of the budget as it is now."""
        given = {name: getattr(self.first, name) for name in OF_A_SESSION}
        if given["keep"] == "auto":  # the component chose
            del given["keep"]
        record = {**component.config["training"], **budget_of(self.first), **given}
        return config_from_dict(TrainingSettings, record)

    def describe(self) -> str:
        """Return what is trained first and how long, as a line to show."""
        family = family_of(self.component.config)
        given = [name for name in OWN if getattr(self.second, name) != getattr(self.first, name)]
        names = " and ".join(f"--{name.replace('_', '-')}" for name in given)
        of_second = f", with {names}: stage 1 chooses its own" if given else ""
        return (
            f"stage 1 of 2: the {family} that it contains, {format_budget(self.first)}; "
            f"then {format_budget(self.second)}{of_second}"
        )


def divide_budget(
    settings: TrainingSettings, share: float
) -> tuple[TrainingSettings, TrainingSettings]:
    """Return the settings with this share of the budget, and those with the rest.

    Raises UsageError for a single step.
    """
    if settings.steps == 1:
        raise UsageError("steps must be at least 2, not 1: two models are trained, each a step.")
    if settings.steps:
        first = max(1, min(round(share * settings.steps), settings.steps - 1))
        budgets = ({"steps": first}, {"steps": settings.steps - first})
    else:
        name = "epochs" if settings.epochs else "minutes"
        total = settings.epochs or settings.minutes or DEFAULT_MINUTES
        budgets = ({name: share * total}, {name: (1 - share) * total})
    parts = [dataclasses.replace(settings, **dict.fromkeys(BUDGETS)) for _ in budgets]
    first, second = (dataclasses.replace(p, **b) for p, b in zip(parts, budgets, strict=True))
    return first, second


def budget_of(settings: TrainingSettings) -> dict[str, float | None]:
    """Return the three kinds of budget, of which one at most is set."""
    return {name: getattr(settings, name) for name in BUDGETS}


def subtract_budget(
    total: dict[str, float | None], spent: dict[str, float | None]
) -> dict[str, float | None]:
    """Return what is left of a budget: a unit at least, or all of a smaller one."""
    return {
        name: value and max(value - (spent[name] or 0), min(1, value))
        for name, value in total.items()
    }


def format_budget(settings: TrainingSettings) -> str:
    """Return the budget in words."""
    if settings.steps:
        return f"{settings.steps:,} steps"
    if settings.epochs:
        return f"{settings.epochs:g} epochs"
    return format_duration(settings.seconds or 0.0)


def is_pending(run: Run) -> bool:
    """Return whether the run's component is still to be trained."""
    return (run.config.get("component") or {}).get("pending", False)


def component_record(run: Run) -> ComponentRecord:
    """Return what config.json records of the run's component."""
    record = run.config.get("component")
    assert record is not None, "a run of two stages"
    return record


def stages_of(run: Run, settings: TrainingSettings) -> Stages:
    """Return the stages of a run whose component is pending; the budget is that of both.

    A component that is trained already keeps the budget that it had.
    """
    record = component_record(run)
    config = config_from_dict(get_family(record["family"]).Config, record["config"])
    stages = Stages.of(Component(record["option"], config, record["share"]), settings)
    if not is_component_trained(run) or record["budget"] == budget_of(stages.first):
        return stages
    rest = subtract_budget(budget_of(settings), record["budget"])
    return dataclasses.replace(stages, second=dataclasses.replace(settings, **rest))


def is_component_trained(run: Run) -> bool:
    """Return whether the training of the run's component is finished."""
    component = Run(component_path(run))
    has_config = (component.path / "config.json").is_file()
    return has_config and component.config.get("finished", False)


def component_path(run: Run) -> Path:
    """Return the folder of the component's run."""
    return run.path / component_record(run)["folder"]


def describe_component(component: Component, settings: TrainingSettings) -> dict[str, Any]:
    """Return what config.json records of a component that is to be trained.

    `settings` are those of both stages.
    """
    family = family_of(component.config)
    return {
        "option": component.option,
        "family": family,
        "config": dataclasses.asdict(component.config),
        "folder": family,
        "share": component.share,
        "budget": budget_of(Stages.of(component, settings).first),
        "pending": True,
    }


def second_config(run: Run) -> Any:
    """Return the configuration of the model, which names its component's run."""
    config = config_from_dict(get_family(run.family).Config, run.config["model"])
    option = component_record(run)["option"]
    return dataclasses.replace(config, **{option: str(component_path(run))})
