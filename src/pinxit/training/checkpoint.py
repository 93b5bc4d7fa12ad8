"""Checkpoints: everything that resuming needs, in one file, without pickle.

`checkpoint/state.safetensors` holds the tensors of model, moving average and optimizer, and the
counters as JSON in its header. It is written whole or not at all, and the previous one is kept in
case the file is damaged later.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from pinxit.data.atomic_write import write_atomically
from pinxit.data.typed_json import convert_json
from pinxit.data.unicode_forms import utf8_path
from pinxit.errors import PinxitError
from pinxit.models.build_check import check_finite, describe_error
from pinxit.training.loop import Counters, TrainState
from pinxit.training.saved_counters import CURRENT, PREVIOUS, parse_counters

OPTIMIZER_KEYS = ("step", "exp_avg", "exp_avg_sq", "momentum")  # of AdamW and Muon


def save_checkpoint(folder: Path, state: TrainState) -> Path:
    """Write `state.safetensors`; the last one becomes `state.previous.safetensors`."""
    counters = json.dumps(dataclasses.asdict(state.counters))
    content = save(_collect_tensors(state), {"counters": counters})
    file = folder / CURRENT
    if file.is_file():
        file.replace(folder / PREVIOUS)
    return write_atomically(file, content)


def load_checkpoint(folder: Path, state: TrainState) -> str | None:
    """Restore the newest readable checkpoint; returns a warning if a newer one is damaged.

    Raises PinxitError if none can be read.
    """
    damaged = []
    for name in (CURRENT, PREVIOUS):
        if not (folder / name).is_file():
            continue
        try:
            tensors, counters = _read(folder / name)
        except Exception as error:  # safetensors, JSON and the disk each raise their own
            damaged.append(f"{folder / name} is damaged ({error})")
            continue
        try:
            _restore(state, tensors, counters)
        except (KeyError, RuntimeError) as error:
            raise PinxitError(
                f"{folder / name} does not fit the model in config.json "
                f"({describe_error(error)}); train a new run."
            ) from None
        return f"{damaged[0]}; continuing from the previous one." if damaged else None
    if damaged:
        raise PinxitError(f"{damaged[0]}, and there is no previous one; train a new run.")
    raise PinxitError(f"no checkpoint in {folder} to continue from; train a new run.")


def has_checkpoint(folder: Path) -> bool:
    """Return whether there is a checkpoint, readable or not."""
    return any((folder / name).is_file() for name in (CURRENT, PREVIOUS))


def _collect_tensors(state: TrainState) -> dict[str, Tensor]:
    tensors = {f"model.{k}": v for k, v in state.module.state_dict().items()}
    named = state.module.named_parameters()
    for (name, p), ema in zip(named, state.ema_params, strict=True):
        tensors[f"ema.{name}"] = ema
        for key, value in state.optimizer.state.get(p, {}).items():
            tensors[f"optimizer.{key}.{name}"] = value
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _read(file: Path) -> tuple[dict[str, Tensor], Counters]:
    with utf8_path(file) as path, safe_open(path, "pt") as opened:
        counters = parse_counters(opened.metadata()["counters"], "its counters")
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    check_finite(tensors, "it")
    if counters["step"] < 0:
        raise PinxitError("its step is below 0")
    return tensors, convert_json(counters, Counters, "its counters")


def _restore(state: TrainState, tensors: dict[str, Tensor], counters: Counters) -> None:
    weights = {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
    state.module.load_state_dict(weights)
    named = state.module.named_parameters()
    for (name, p), ema in zip(named, state.ema_params, strict=True):
        ema.copy_(tensors[f"ema.{name}"])
        moments = {
            # on the parameter's device: a fused optimizer keeps its step count there
            key: tensors[f"optimizer.{key}.{name}"].to(p.device, torch.float32)
            for key in OPTIMIZER_KEYS
            if f"optimizer.{key}.{name}" in tensors
        }
        if any(value.shape not in (p.shape, torch.Size([])) for value in moments.values()):
            raise RuntimeError(f"the optimizer's tensors of {name} have another shape")
        if moments:
            state.optimizer.state[p] = moments
    for field in dataclasses.fields(counters):
        setattr(state.counters, field.name, getattr(counters, field.name))
