"""A run on disk: a model with everything about it in one folder, readable without this project.

    config.json        family, options of model and training, dataset info, versions
    model.safetensors  the best averaged weights
    fitted.safetensors tensors fitted to the training data (a palette, a text tokenizer), if any
    checkpoint/        everything that resuming needs
    metrics.csv        the training curves, a row per report
    samples/           sample grids at each evaluation
    evaluation.json    metrics on the test split; evaluation-SPLIT.json on another one
    report.html, README.md

No pickle is ever loaded.
"""

from __future__ import annotations

import csv
import json
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from pinxit.data.atomic_write import write_atomically
from pinxit.data.batch import DatasetInfo
from pinxit.data.load_options import LoadOptions, make_load_options
from pinxit.data.unicode_forms import utf8_path
from pinxit.errors import PinxitError, UsageError, find_closest
from pinxit.models import get_family
from pinxit.models.config import config_from_dict

if TYPE_CHECKING:
    import torch

FORMAT = 2  # of the folder; another format is not read
FITTED_FILE = "fitted.safetensors"


@dataclass(frozen=True)
class Run:
    """A run folder; files are read on first use."""

    path: Path

    @cached_property
    def config(self) -> dict[str, Any]:
        """The content of `config.json`.

        Raises UsageError if the folder is not a run, PinxitError if it has another format.
        """
        file = self.path / "config.json"
        if self.path.is_file():
            raise UsageError(f"{self.path} is a file; a run is a folder.{self._suggest_parent()}")
        if not self.path.is_dir():
            raise UsageError(f"no run at {self.path}: no such folder.{suggest_run(self.path)}")
        if not file.is_file():
            raise UsageError(f"{self.path} is not a run: it has no config.json.")
        try:
            record = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise PinxitError(f"{file} is not valid JSON: {error}.") from None
        if not isinstance(record, dict) or "family" not in record:
            raise PinxitError(f"{file} is not the config.json of a run: it names no family.")
        _check_format(self.path, record.get("format"))
        return record

    def check(self) -> None:
        """Check that the folder is a run, without importing torch.

        Raises UsageError if it is not, PinxitError if its config.json cannot be read.
        """
        _ = self.config

    def _suggest_parent(self) -> str:
        parent = self.path.parent
        return f" Did you mean {parent}?" if (parent / "config.json").is_file() else ""

    @property
    def shell_path(self) -> str:
        """The path, quoted so that it can be pasted into a shell."""
        return shlex.quote(str(self.path))

    @property
    def owner(self) -> Run:
        """The run that this one is part of while that is trained, else the run itself."""
        folder = self.path.absolute()
        try:
            record = Run(folder.parent).config.get("component") or {}
        except PinxitError:
            return self
        is_part = record.get("pending") and record.get("folder") == folder.name
        return Run(self.path.parent) if is_part else self

    @property
    def resume_command(self) -> str:
        """The command that goes on with the training."""
        return f"pinxit train --resume {self.owner.shell_path}"

    @property
    def name(self) -> str:
        return self.path.resolve().name

    @property
    def family(self) -> str:
        return self.config["family"]

    @cached_property
    def info(self) -> DatasetInfo:
        return DatasetInfo.from_json(self.config["dataset_info"])

    @property
    def load_options(self) -> LoadOptions:
        """How the training images were loaded, with the size, channels and range that they had."""
        options = (self.config.get("data") or {}).get("options") or {}
        info = self.info
        color = "grey" if info.channels == 1 else "rgb"
        found = {"size": (info.height, info.width), "color": color, **info.conversion}
        return make_load_options({**options, **found})

    @property
    def weights_path(self) -> Path:
        return self.path / "model.safetensors"

    def check_weights(self) -> None:
        """Check that the run has weights, without importing torch.

        Raises UsageError if the folder is not a run, PinxitError if there are no weights yet.
        """
        self.check()
        if not self.weights_path.is_file():
            raise PinxitError(f"{self.path} has no weights yet; train it: {self.resume_command}")

    def build(self) -> Any:
        """Build the model, with initial weights and the tensors fitted to the training data.

        Raises PinxitError if the file of these tensors cannot be read, or does not fit config.json.
        """
        module = get_family(self.family)
        model = module.build(config_from_dict(module.Config, self.config["model"]), self.info)
        file = self.path / FITTED_FILE
        if file.is_file():
            from pinxit.models.saved_state import load_fitted

            _load_tensors(file, lambda tensors: load_fitted(model, tensors))
        return model

    def load(self, device: str | torch.device = "cpu") -> Any:
        """Load the model with its saved weights, in evaluation mode.

        Raises PinxitError if there are none yet, or if they do not fit config.json.
        """
        self.check_weights()
        model = self.build()
        _load_tensors(self.weights_path, model.load_state_dict)
        model = model.to(device).eval()
        _RUN_OF_MODEL[model] = self
        return model

    def metrics(self) -> list[dict[str, float]]:
        """Return the rows of metrics.csv, without their empty cells."""
        file = self.path / "metrics.csv"
        if not file.is_file():
            return []
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        complete = [line for line in lines if line.endswith("\n")]  # the last one may be cut short
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(complete)]

    def evaluation(self, split: str = "test") -> dict[str, Any]:
        """Return what was measured on a split; empty before `pinxit evaluate --split`."""
        file = self.path / evaluation_file(split)
        return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}

    def write(self, name: str, content: bytes | str | dict[str, Any]) -> Path:
        """Write a file of the run atomically; a dict is written as JSON."""
        if isinstance(content, dict):
            content = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        return write_atomically(self.path / name, content)


def _load_tensors(file: Path, load: Callable[[dict[str, torch.Tensor]], object]) -> None:
    """Read a file of tensors and load them into a model of config.json.

    Raises PinxitError if the file cannot be read, or if the model has other tensors.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        with utf8_path(file) as path:
            load(load_file(path))
    except (RuntimeError, ValueError, SafetensorError) as error:  # ValueError: a JSON record
        reason = str(error).splitlines()[0]
        raise PinxitError(f"{file} does not fit config.json: {reason}") from None


_RUN_OF_MODEL: WeakKeyDictionary[Any, Run] = WeakKeyDictionary()


def suggest_run(path: Path, root: Path = Path("runs")) -> str:
    """Return ` Did you mean runs/x?`, a run of a similar name beside a path or in `root`, or ""."""
    for folder in (path.parent, root):
        try:
            names = [child.name for child in folder.iterdir() if (child / "config.json").is_file()]
        except OSError:
            continue
        if closest := find_closest(path.name, sorted(names)):
            return f" Did you mean {shlex.quote(str(folder / closest))}?"
    return ""


def evaluation_file(split: str = "test") -> str:
    """Return the name of the file of a run that holds what was measured on a split."""
    return "evaluation.json" if split == "test" else f"evaluation-{split}.json"


def load(run: str | Path, device: str = "cpu") -> Any:
    """Load the model of a run, ready to use."""
    return Run(Path(run)).load(device)


def run_of(model: object) -> Run | None:
    """Return the run that a model was loaded from; None for any other object."""
    return None if model is None else _RUN_OF_MODEL.get(model)


def _check_format(path: Path, format_number: object) -> None:
    """Raise PinxitError for a folder of another format."""
    if format_number == FORMAT:
        return
    if isinstance(format_number, int) and format_number > FORMAT:
        raise PinxitError(f"{path} was written by a newer pinxit; update it.")
    raise PinxitError(
        f"{path} was written by an older pinxit (format {format_number}); train it again."
    )


def default_run_path(source: str, family_name: str, root: Path = Path("runs")) -> Path:
    """Return `runs/<data>-<family>`, with a number appended if that folder exists."""
    data = re.sub(r"\.(npz|npy|parquet|tar)$", "", source.rstrip("/").split("/")[-1])
    data = re.sub(r"[^\w.-]+", "-", data).strip("-.") or "images"
    path = first = root / f"{data}-{family_name}"
    number = 2
    while path.exists():
        path = first.with_name(f"{first.name}-{number}")
        number += 1
    return path
