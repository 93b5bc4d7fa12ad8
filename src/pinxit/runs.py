"""A run on disk: everything a model is, in one folder, readable without this project.

    config.json        family, model and training settings, facts of the data, versions
    model.safetensors  the weights to use
    fitted.safetensors tensors fitted to the training data (a palette, a text tokenizer), if any
    checkpoint/        all that resuming needs
    metrics.csv        one row a report of training
    samples/           grids from fixed latents, as it learned
    evaluation.json, report.html, README.md

No pickle is ever loaded.
"""

from __future__ import annotations

import csv
import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from pinxit.data.atomic_write import write_atomically
from pinxit.data.batch import DatasetInfo
from pinxit.errors import PinxitError, UsageError
from pinxit.models import get_family
from pinxit.models.config import config_from_dict

if TYPE_CHECKING:
    import torch

FORMAT = 2  # raised when an older pinxit could not read the folder


@dataclass(frozen=True)
class Run:
    """A run folder. Nothing is read before it is asked for."""

    path: Path

    @cached_property
    def config(self) -> dict[str, Any]:
        """What `config.json` says. Raises UsageError where the folder is no run."""
        file = self.path / "config.json"
        if not self.path.is_dir():
            raise UsageError(f"no run at {self.path}: there is no such folder.")
        if not file.is_file():
            raise UsageError(f"{self.path} is no run: it has no config.json.")
        try:
            record = json.loads(file.read_text())
        except ValueError as error:
            raise PinxitError(f"{file} cannot be read: {error}.") from None
        if not isinstance(record, dict) or "family" not in record:
            raise PinxitError(f"{file} is not the config.json of a run: it names no family.")
        if record.get("format", 0) > FORMAT:
            raise PinxitError(f"{self.path} was written by a newer pinxit; update to read it.")
        return record

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
    def weights(self) -> Path:
        return self.path / "model.safetensors"

    @property
    def fitted_path(self) -> Path:
        return self.path / "fitted.safetensors"

    def build(self) -> Any:
        """The model with initial weights and the tensors that were fitted to the training data."""
        module = get_family(self.family)
        model = module.build(config_from_dict(module.Config, self.config["model"]), self.info)
        if self.fitted_path.is_file():
            from safetensors.torch import load_file

            from pinxit.models.saved_state import load_fitted

            load_fitted(model, load_file(self.fitted_path))
        return model

    def load(self, device: str | torch.device = "cpu") -> Any:
        """The model with its weights, in evaluation mode.

        Raises PinxitError where there are none yet or they are of another model.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        if not self.weights.is_file():
            self.config  # noqa: B018 (a folder that is no run says so first)
            raise PinxitError(
                f"{self.path} has no weights yet; go on with: pinxit train --resume {self.path}"
            )
        model = self.build()
        try:
            model.load_state_dict(load_file(self.weights))
        except (RuntimeError, SafetensorError) as error:
            reason = str(error).splitlines()[0]
            raise PinxitError(f"{self.weights} does not fit config.json: {reason}") from None
        model = model.to(device).eval()
        _RUN_OF_MODEL[model] = self
        return model

    def metrics(self) -> list[dict[str, float]]:
        """The rows of metrics.csv; a cell that is empty is left out of its row."""
        file = self.path / "metrics.csv"
        if not file.is_file():
            return []
        lines = file.read_text().splitlines(keepends=True)
        whole = [line for line in lines if line.endswith("\n")]  # a kill may cut the last one short
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(whole)]

    def evaluation(self) -> dict[str, Any]:
        """What evaluation.json says; empty before `pinxit evaluate`."""
        file = self.path / "evaluation.json"
        return json.loads(file.read_text()) if file.is_file() else {}

    def write(self, name: str, content: bytes | str | dict[str, Any]) -> Path:
        """Write one file of the run, whole or not at all; a dict becomes JSON."""
        if isinstance(content, dict):
            content = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        return write_atomically(self.path / name, content)


_RUN_OF_MODEL: WeakKeyDictionary[Any, Run] = WeakKeyDictionary()


def load(run: str | Path, device: str = "cpu") -> Any:
    """The model of a finished run, ready to use."""
    return Run(Path(run)).load(device)


def run_of(model: object) -> Run | None:
    """Return the run that a model was loaded from; None for any other object."""
    return None if model is None else _RUN_OF_MODEL.get(model)


def default_run_path(source: str, family_name: str, root: Path = Path("runs")) -> Path:
    """`runs/<data>-<family>`, with a number behind it where that is taken."""
    data = re.sub(r"\.(npz|npy|parquet|tar)$", "", source.rstrip("/").split("/")[-1])
    data = re.sub(r"[^\w.-]+", "-", data).strip("-.") or "images"
    first = root / f"{data}-{family_name}"
    return first if not first.exists() else _numbered(first)


def _numbered(first: Path) -> Path:
    number = 2
    while (path := first.with_name(f"{first.name}-{number}")).exists():
        number += 1
    return path
