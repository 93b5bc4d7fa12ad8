"""Checkpoints: everything that resuming needs, without pickle.

    checkpoint/state.safetensors           tensors of model, moving average and optimizer; the
                                           counters are JSON in its header
    checkpoint/state.previous.safetensors  the one before, in case the file is damaged later
    checkpoint/state-STEP.N-of-M.safetensors
                                           where M processes hold parts of the tensors (fsdp), the
                                           parts of process N: the last two steps are kept

A file is written whole or not at all, and a checkpoint of several files counts once all are there.
Training goes on meanwhile: the tensors are copied, and a thread writes them. Any number of
processes reads either kind.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from pinxit.data.atomic_write import write_atomically
from pinxit.data.typed_json import convert_json, decode_json, parse_json
from pinxit.data.unicode_forms import utf8_path
from pinxit.errors import PinxitError
from pinxit.models.build_check import check_finite, describe_error
from pinxit.training.loop import Counters, TrainState
from pinxit.training.saved_counters import CURRENT, PREVIOUS, parse_counters
from pinxit.training.sharding import is_sharded, local, part_of, rows_of

PART = re.compile(r"state-(\d+)\.(\d+)-of-(\d+)\.safetensors")
NUM_KEPT = 2  # complete checkpoints, besides one that is being written

OPTIMIZER_KEYS = ("step", "exp_avg", "exp_avg_sq", "momentum")  # of AdamW and Muon


class CheckpointWriter:
    """Writes checkpoints in a thread, one after another."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.thread = ThreadPoolExecutor(1, "checkpoint")
        self.pending: Future[Path] | None = None

    def save(self, state: TrainState) -> None:
        """Copy the state and write it while training goes on, once the last one is written.

        Raises what writing the last one raised, such as OSError.
        """
        snapshot = Snapshot.of(state)
        self.wait()
        self.pending = self.thread.submit(snapshot.write, self.folder)

    def wait(self) -> None:
        """Wait until the last checkpoint is written. Raises what that raised."""
        pending, self.pending = self.pending, None
        if pending is not None:
            pending.result()

    def close(self) -> None:
        """Wait for the thread; what it raised has been raised, or another error is on its way."""
        self.thread.shutdown(wait=True)


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """A copy of a state in host memory: of the tensors, or of this process's parts of them."""

    tensors: dict[str, Tensor]
    offsets: dict[str, tuple[int, int]]  # of parts: the first row, and the rows of the whole
    counters: str
    step: int
    rank: int = 0
    num_parts: int = 1

    @classmethod
    def of(cls, state: TrainState) -> Snapshot:
        tensors = _collect_tensors(state)
        counters = json.dumps(dataclasses.asdict(state.counters))
        step, rank = state.counters.step, state.fabric.global_rank
        sharded = {name: tensor for name, tensor in tensors.items() if is_sharded(tensor)}
        offsets = {name: (rows_of(t).start, len(t)) for name, t in sharded.items()}
        if rank > 0:  # what all hold, the first one writes
            tensors = sharded
        copies = {
            name: local(tensor).to("cpu", copy=True).contiguous()
            for name, tensor in tensors.items()
        }
        num_parts = state.fabric.world_size if sharded else 1
        return cls(copies, offsets, counters, step, rank, num_parts)

    def write(self, folder: Path) -> Path:
        """Write it to a folder and return the file."""
        metadata = {"counters": self.counters, "offsets": json.dumps(self.offsets)}
        content = save(self.tensors, metadata)
        if self.num_parts > 1:
            name = f"state-{self.step:07d}.{self.rank + 1}-of-{self.num_parts}.safetensors"
            file = write_atomically(folder / name, content)
        else:
            file = folder / CURRENT
            if file.is_file():
                file.replace(folder / PREVIOUS)
            write_atomically(file, content)
        if self.rank == 0:
            _remove_old(folder)
        return file


def save_checkpoint(folder: Path, state: TrainState) -> Path:
    """Write a checkpoint and return its file, of several that of this process."""
    return Snapshot.of(state).write(folder)


def load_checkpoint(folder: Path, state: TrainState) -> str | None:
    """Restore the newest readable checkpoint; returns a warning if a newer one is damaged.

    Raises PinxitError if none can be read.
    """
    damaged = []
    for files in _list_checkpoints(folder):
        try:
            parts = [_read(file) for file in files]
            tensors = {name: tensor for part in parts for name, tensor in part.tensors.items()}
            tensors |= _join(parts)
        except Exception as error:  # safetensors, JSON and the disk each raise their own
            damaged.append(f"{files[0]} is damaged ({error})")
            continue
        try:
            _restore(state, tensors, convert_json(decode_json(parts[0].counters), Counters, "it"))
        except (KeyError, RuntimeError) as error:
            raise PinxitError(
                f"{files[0]} does not fit the model in config.json "
                f"({describe_error(error)}); train a new run."
            ) from None
        return f"{damaged[0]}; continuing from the previous one." if damaged else None
    if damaged:
        raise PinxitError(f"{damaged[0]}, and there is no previous one; train a new run.")
    raise PinxitError(f"no checkpoint in {folder} to continue from; train a new run.")


def has_checkpoint(folder: Path) -> bool:
    """Return whether there is a checkpoint, readable or not."""
    return bool(_list_checkpoints(folder))


def _list_checkpoints(folder: Path) -> list[list[Path]]:
    """Return the files of each complete checkpoint, the newest first."""
    found = [(_step_of(parts[0]), parts) for parts in _complete(folder).values()]
    for order, name in enumerate((CURRENT, PREVIOUS)):
        file = folder / name
        if file.is_file():
            # a damaged file counts as new: it is then reported
            found.append((_step_of(file) - order / 2, [file]))
    return [files for _, files in sorted(found, key=lambda pair: -pair[0])]


def _complete(folder: Path) -> dict[tuple[int, int], list[Path]]:
    """Return the checkpoints of several files that are all there, by step and number of files."""
    parts: dict[tuple[int, int], dict[int, Path]] = defaultdict(dict)
    for file in folder.glob("state-*.safetensors"):
        if match := PART.fullmatch(file.name):
            step, number, count = map(int, match.groups())
            parts[step, count][number] = file
    return {
        key: [files[number] for number in sorted(files)]
        for key, files in parts.items()
        if len(files) == key[1]
    }


def _step_of(file: Path) -> float:
    """Return the step of a checkpoint; infinite for a damaged file."""
    if match := PART.fullmatch(file.name):
        return int(match[1])
    try:
        with utf8_path(file) as path, safe_open(path, "pt") as opened:
            return decode_json(opened.metadata()["counters"])["step"]
    except Exception:  # safetensors, JSON and the disk each raise their own
        return float("inf")


def _remove_old(folder: Path) -> None:
    """Remove what is older than the last complete checkpoints, by any number of processes."""
    complete = _list_checkpoints(folder)
    if len(complete) < NUM_KEPT:
        return
    oldest = _step_of(complete[NUM_KEPT - 1][0])
    parts = [file for file in folder.glob("state-*.safetensors") if PART.fullmatch(file.name)]
    whole = [folder / CURRENT, folder / PREVIOUS]
    for file in (*parts, *whole):
        if file not in complete[NUM_KEPT - 1] and file.is_file() and _step_of(file) < oldest:
            file.unlink(missing_ok=True)


def _collect_tensors(state: TrainState) -> dict[str, Tensor]:
    tensors = {f"model.{k}": v.detach() for k, v in state.module.state_dict().items()}
    for name, p, ema in _iterate_parameters(state):
        tensors[f"ema.{name}"] = ema
        for key, value in state.optimizer.state.get(p, {}).items():
            tensors[f"optimizer.{key}.{name}"] = value
    return tensors


def _iterate_parameters(state: TrainState) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield the name of each parameter, the parameter and its moving average."""
    named = state.module.named_parameters()
    for (name, p), ema in zip(named, state.ema_params, strict=True):
        yield name, p, ema


def _read(file: Path) -> Snapshot:
    """Read a file of a checkpoint. Raises nearly anything for a damaged one."""
    with utf8_path(file) as path, safe_open(path, "pt") as opened:
        metadata = opened.metadata()
        counters = parse_counters(metadata["counters"], "its counters")
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    check_finite(tensors, "it")
    if counters["step"] < 0:
        raise PinxitError("its step is below 0")
    convert_json(counters, Counters, "its counters")
    record = parse_json(metadata.get("offsets", "{}"), "its offsets")
    offsets = convert_json(record, dict[str, tuple[int, int]], "its offsets")
    return Snapshot(tensors, offsets, json.dumps(counters), int(counters["step"]))


def _join(parts: list[Snapshot]) -> dict[str, Tensor]:
    """Return the whole tensors of which several files hold parts."""
    joined: dict[str, Tensor] = {}
    for part in parts:
        for name, (start, rows) in part.offsets.items():
            tensor = part.tensors[name]
            if rows != sum(len(other.tensors[name]) for other in parts):
                raise PinxitError(f"its parts of {name} are not all of it")
            whole = joined.setdefault(name, tensor.new_empty(rows, *tensor.shape[1:]))
            whole[start : start + len(tensor)] = tensor
    return joined


def _restore(state: TrainState, tensors: dict[str, Tensor], counters: Counters) -> None:
    weights = {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
    sharded = {k: v for k, v in state.module.state_dict().items() if is_sharded(v)}
    for name, tensor in sharded.items():
        _copy(tensor, weights.pop(name))
    state.module.load_state_dict(weights, strict=not sharded)
    for name, p, ema in _iterate_parameters(state):
        _copy(ema, tensors[f"ema.{name}"])
        moments = {
            key: _like(p, tensors[f"optimizer.{key}.{name}"])
            for key in OPTIMIZER_KEYS
            if f"optimizer.{key}.{name}" in tensors
        }
        if any(value.shape not in (p.shape, torch.Size([])) for value in moments.values()):
            raise RuntimeError(f"the optimizer's tensors of {name} have another shape")
        if moments:
            state.optimizer.state[p] = moments
    for field in dataclasses.fields(counters):
        setattr(state.counters, field.name, getattr(counters, field.name))


def _copy(target: Tensor, full: Tensor) -> None:
    if target.shape != full.shape:
        raise RuntimeError("another shape")
    local(target).copy_(part_of(full, target))


def _like(parameter: Tensor, full: Tensor) -> Tensor:
    """Return a moment where its parameter is: a fused optimizer keeps its step count there too."""
    if not is_sharded(parameter) or full.shape != parameter.shape:
        return full.to(parameter.device, torch.float32)
    moment = torch.zeros_like(parameter, dtype=torch.float32)
    local(moment).copy_(part_of(full, parameter))
    return moment
