"""All that resuming needs, in one file: written whole or not at all, and no pickle.

`checkpoint/state.safetensors` holds model, running average and optimizer as tensors, and the
counts as JSON in its header. The one before is kept beside it, for a disk that lied.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pinxit.data.atomic_write import write_atomically
from pinxit.errors import PinxitError
from pinxit.training.loop import TrainState

NAME, BEFORE = "state.safetensors", "state.before.safetensors"


def save_checkpoint(folder: Path, trainer: TrainState) -> Path:
    """Write `folder/state.safetensors`; the last one becomes `state.before.safetensors`."""
    from safetensors.torch import save

    content = save(_tensors(trainer), {"state": json.dumps(dataclasses.asdict(trainer.state))})
    file = folder / NAME
    if file.is_file():
        file.replace(folder / BEFORE)
    return write_atomically(file, content)


def load_checkpoint(folder: Path, trainer: TrainState) -> str | None:
    """Put the newest readable checkpoint into the trainer; returns a word on a damaged one.

    Raises PinxitError where there is none that can be read.
    """
    reasons = []
    for name in (NAME, BEFORE):
        if not (folder / name).is_file():
            continue
        try:
            tensors, record = _read(folder / name)
        except Exception as error:  # safetensors, JSON and the disk each have their own
            reasons.append(f"{folder / name} is damaged ({error})")
            continue
        try:
            _restore(trainer, tensors, record)
        except (KeyError, RuntimeError):
            raise PinxitError(
                f"{folder / name} is of another model than config.json says; train anew."
            ) from None
        return f"{reasons[0]}; going on from the one before." if reasons else None
    if reasons:
        raise PinxitError(f"{reasons[0]}, and there is no older checkpoint; train anew.")
    raise PinxitError(f"no checkpoint in {folder}: there is nothing to go on from; train anew.")


def has_checkpoint(folder: Path) -> bool:
    """Whether there is one, readable or not."""
    return any((folder / name).is_file() for name in (NAME, BEFORE))


def remove_unfinished(run: Path) -> None:
    """Remove what a kill left of files that were being written beside their place."""
    for part in run.rglob(".*.part"):
        part.unlink(missing_ok=True)


def _tensors(trainer: TrainState) -> dict[str, Tensor]:
    tensors = {f"model.{k}": v for k, v in trainer.module.state_dict().items()}
    for (name, p), average in zip(_named(trainer), trainer.average, strict=True):
        tensors[f"average.{name}"] = average
        for key, value in trainer.optimizer.state.get(p, {}).items():
            tensors[f"optimizer.{key}.{name}"] = value
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _named(trainer: TrainState) -> list[tuple[str, Any]]:
    return list(trainer.module.named_parameters())


def _read(file: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    from safetensors import safe_open

    with safe_open(file, "pt") as opened:
        record = json.loads(opened.metadata()["state"])
        return {name: opened.get_tensor(name) for name in opened.keys()}, record  # noqa: SIM118


def _restore(trainer: TrainState, tensors: dict[str, Tensor], record: dict[str, Any]) -> None:
    weights = {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
    trainer.module.load_state_dict(weights)
    for (name, p), average in zip(_named(trainer), trainer.average, strict=True):
        average.copy_(tensors[f"average.{name}"])
        kept = {}
        for key in ("step", "exp_avg", "exp_avg_sq", "momentum"):
            tensor = tensors.get(f"optimizer.{key}.{name}")
            if tensor is not None:
                # a fused optimizer keeps its count where the parameter is
                kept[key] = tensor.to(p.device, torch.float32)
        if kept:
            trainer.optimizer.state[p] = kept
    for key, value in record.items():
        setattr(trainer.state, key, value)
