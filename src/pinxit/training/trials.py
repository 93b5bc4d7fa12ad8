"""Short trainings from a run's own weights with some options changed, in folders of their own.

    RUN/explain/beta-0.5/            a run like any other: it can be sampled, evaluated, resumed
    RUN/explain/beta-0.5/trial.json  the weights it started from, the changes, the steps, the images
    RUN/explain/beta-0.5/new-layers.json  tensors that the run has not, which start untrained

A finished trial of the same weights, changes, steps and images is not trained again; one that was
interrupted goes on from its checkpoint. Those of earlier versions do not name their images, and
are.
"""

from __future__ import annotations

import hashlib
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pinxit.data.images import Images
from pinxit.data.load import compute_fingerprint
from pinxit.data.typed_json import decode_json
from pinxit.models import component_of, get_family
from pinxit.models.config import config_from_dict
from pinxit.nn.device import Device
from pinxit.runs import Run
from pinxit.training.prepare import TrainingData, TrainingPlan, prepare_training
from pinxit.training.run_lock import lock_run
from pinxit.training.settings import TrainingSettings

if TYPE_CHECKING:
    from pinxit.models.protocols import Model
    from pinxit.training.processes import Processes

RECORD = "trial.json"
NEW_LAYERS = "new-layers.json"
NUM_EVALS = 2
DEFAULT_STEPS = 200
MIN_STEPS = 50


def choose_steps(run: Run, minutes: float) -> int:
    """Return how many steps take so many minutes, by the speed that the run was trained with."""
    trained = run.config.get("trained") or {}
    steps, seconds = trained.get("steps"), trained.get("seconds")
    if not steps or not seconds:
        return DEFAULT_STEPS
    return max(MIN_STEPS, round(60 * minutes * steps / seconds))


def train_trial(
    base: Run,
    images: Images,
    changes: dict[str, Any],
    steps: int,
    folder: Path,
    device: Device = "auto",
) -> Run:
    """Train from the weights of `base` with options of the model changed, and return the run.

    Raises UsageError for options that the images do not allow, KeyboardInterrupt after Ctrl-C:
    the next call continues.
    """
    from pinxit.training.api import resume  # these import torch
    from pinxit.training.checkpoint import has_checkpoint

    run = Run(folder)
    record = {
        "weights": hash_file(base.weights_path),
        "changes": changes,
        "steps": steps,
        "fingerprint": images.fingerprint or compute_fingerprint(images),
        "seed": base.config["training"].get("seed"),  # of the training, which the run had too
    }
    is_same = _read(folder) == record and (folder / "config.json").is_file()
    if is_same and run.config.get("finished"):
        return run
    try:
        if is_same and has_checkpoint(folder / "checkpoint"):
            return Run(resume(run, images, quiet=True, device=device).path)
        _remove(folder)
        return _start(base, images, record, folder, device)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("stopped; the same command continues") from None


def _remove(folder: Path) -> None:
    """Delete a trial of other weights or options, unless a process is training in it."""
    if folder.is_dir():
        with lock_run(Run(folder)):
            shutil.rmtree(folder)


def has_new_layers(run: Run) -> bool:
    """Whether a trial has tensors that its run has not: a short training does not tell of them."""
    try:
        return bool(decode_json((run.path / NEW_LAYERS).read_text(encoding="utf-8"))["names"])
    except (OSError, ValueError, KeyError):
        return False


def hash_file(path: Path) -> str:
    """Return a hash of a file's content."""
    return hashlib.blake2b(path.read_bytes(), digest_size=8).hexdigest()


def _read(folder: Path) -> Any:
    try:
        return decode_json((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _start(base: Run, images: Images, record: dict[str, Any], folder: Path, device: Device) -> Run:
    from pinxit.training.run_folder import create_run
    from pinxit.training.running import train_plan
    from pinxit.training.schedule import Clock

    config = config_from_dict(
        get_family(base.family).Config, {**base.config["model"], **record["changes"]}
    )
    settings = config_from_dict(TrainingSettings, base.config["training"] | {
        "minutes": None, "epochs": None, "steps": record["steps"], "keep": "last",
        "num_evals": NUM_EVALS, "tensorboard": False, "log": (), "devices": 1, "nodes": 1,
        "strategy": TrainingSettings().strategy, "device": device,
    })  # fmt: skip
    data = TrainingData(
        images, base.load_options, (base.config.get("data") or {}).get("files") or []
    )
    plan = prepare_training(config, data, settings, _own_component(base, config), quiet=True)
    missing = copy_weights(base, plan.model)
    with ExitStack() as lock:

        def create(plan: TrainingPlan, processes: Processes) -> Run:
            run = create_run(plan, folder, processes)
            run.write(RECORD, record)
            run.write(NEW_LAYERS, {"names": missing})
            lock.enter_context(lock_run(run))
            return run

        return train_plan(plan, create, Clock(), quiet=True)


def _own_component(base: Run, config: Any) -> Any:
    """Return the network that a run holds of another run, which may be gone, if options need it."""
    if component_of(config) is None:
        return None
    return getattr(getattr(base.load(), "perceptual", None), "network", None)


def copy_weights(base: Run, model: Model) -> list[str]:
    """Copy the weights of a run whose names and shapes a model has too; return the other names."""
    import torch
    from safetensors.torch import load_file

    own, missing = model.state_dict(), []
    saved = load_file(base.weights_path)
    with torch.no_grad():
        for name, tensor in own.items():
            if name in saved and saved[name].shape == tensor.shape:
                tensor.copy_(saved[name])
            else:
                missing.append(name)
    return missing
