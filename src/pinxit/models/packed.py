"""A trained model inside another one: its configuration as JSON, its weights as buffers."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, NamedTuple, TypedDict

import torch
from torch import Tensor, nn

from pinxit.data.batch import DatasetInfo
from pinxit.data.typed_json import convert_json
from pinxit.errors import PinxitError, UsageError
from pinxit.models import family_of, get_family
from pinxit.models.config import config_from_dict


class ModelSpec(TypedDict):
    """How a model is built, as JSON."""

    family: str
    config: dict[str, Any]
    dataset_info: dict[str, Any]


class PackedModel(NamedTuple):
    """A trained model as the configuration and tensors of another model."""

    spec: dict[str, Any]  # family, config and dataset info, as JSON
    tensors: dict[str, Tensor]


def pack_model(run_name: str, model: Any, info: DatasetInfo, what: str) -> PackedModel:
    """Pack a trained model for a model of images with these facts; `what` names it in errors.

    Raises UsageError if it is None, or was trained on images of another shape; PinxitError if its
    weights are not finite.
    """
    if model is None:
        raise UsageError(f"the {what} {run_name} was not loaded.")
    shapes = [f"{d.height}x{d.width}x{d.channels}" for d in (model.info, info)]
    if shapes[0] != shapes[1]:
        raise UsageError(
            f"the {what} takes images of {shapes[0]} (height, width, channels), not "
            f"{shapes[1]}; load them with the --size and --color that it was trained with."
        )
    tensors = dict(model.state_dict())
    if not all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
        raise PinxitError(f"the weights of the {what} {run_name} are not finite: train it again.")
    spec = {
        "family": family_of(model.config),
        "config": dataclasses.asdict(model.config),
        "dataset_info": model.info.to_json(),
    }
    # as config.json holds it: lists in place of tuples
    return PackedModel(json.loads(json.dumps(spec)), tensors)


def build_packed(spec: dict[str, Any]) -> Any:
    """Build the model of a spec, without its weights; they are buffers that nothing trains.

    Raises PinxitError if the spec, which may come from a stranger's run, is not one.
    """
    spec = dict(convert_json(spec, ModelSpec, "the model that this one contains"))
    family = get_family(spec["family"])
    config = config_from_dict(family.Config, spec["config"])
    with torch.random.fork_rng(devices=[]):  # do not shift the draws of the trained weights
        return freeze(family.build(config, DatasetInfo.from_json(spec["dataset_info"])))


def freeze(module: nn.Module) -> nn.Module:
    """Replace all parameters by buffers, in place: no optimizer or running average sees them."""
    for part in module.modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            del part._parameters[name]
            part.register_buffer(name, parameter.detach())
    return module.eval()
