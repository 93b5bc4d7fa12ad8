"""A run on disk: a model with everything about it in one folder, readable without this project.

    config.json        family, options of model and training, dataset info, versions
    model.safetensors  the best averaged weights
    fitted.safetensors tensors fitted to the training data (a palette, a text tokenizer), if any
    checkpoint/        everything that resuming needs
    metrics.csv        the training curves, a row per report
    samples/           sample grids at each evaluation
    latents/           the posterior of some images at up to 12 steps
    examples.json      some images of the test split with their captions, to show in the studio
    evaluation.json    metrics on the test split; evaluation-SPLIT.json on another one,
                       evaluation-PRIOR.json of samples of a prior fitted afterwards,
                       evaluation-DATA.json on images that are not the run's own
    report.html, README.md
    explain.html       why its samples are blurry; the numbers are in explain.json;
                       explain-DATA.html and .json on images that are not the run's own
    explain/           short trainings of `pinxit explain --curve` and `--try`
    exchange.json      what a server of the run answered to the lecture's program
    prior-mixture.safetensors, prior-realnvp.safetensors
                       priors fitted to its latents after training
    .lock, .owner.json the lock of the process that trains the run, and which one that is

No pickle is ever loaded. Files are checked as they are read: a run may be a stranger's.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from pinxit.data.atomic_write import write_atomically
from pinxit.data.batch import DatasetInfo
from pinxit.data.load_options import LoadOptions, make_load_options
from pinxit.data.slugs import other_data_slug
from pinxit.data.unicode_forms import utf8_path
from pinxit.errors import PinxitError, UsageError, find_closest
from pinxit.models import get_family
from pinxit.models.config import config_from_dict
from pinxit.run_records import (
    ComponentRecord,
    EvaluationRecord,
    RunConfig,
    read_config,
    read_evaluation_record,
    read_metrics,
)

if TYPE_CHECKING:
    import torch

    from pinxit.data.images import Images

FORMAT = 2  # of the folder; another format is not read
FITTED_FILE = "fitted.safetensors"
EXAMPLES_FILE = "examples.json"


@dataclass(frozen=True)
class Run:
    """A run folder; files are read on first use."""

    path: Path

    @cached_property
    def config(self) -> RunConfig:
        """The content of `config.json`.

        Raises UsageError if the folder is not a run, PinxitError if it has another format or is
        damaged.
        """
        file = self.path / "config.json"
        if self.path.is_file():
            raise UsageError(f"{self.path} is a file; a run is a folder.{self._suggest_parent()}")
        if not self.path.is_dir():
            raise UsageError(f"no run at {self.path}: no such folder.{suggest_run(self.path)}")
        if not file.is_file():
            raise UsageError(f"{self.path} is not a run: it has no config.json.")
        return read_config(file, FORMAT)

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
        record = self._whole_record()
        return Run(self.path.parent) if record is not None and record["pending"] else self

    @property
    def is_component(self) -> bool:
        """Whether another run contains this one: it is trained once, before that."""
        return self._whole_record() is not None

    def _whole_record(self) -> ComponentRecord | None:
        """Return what the run that contains this one records of it; None for a run by itself."""
        folder = self.path.absolute()
        try:
            record = Run(folder.parent).config.get("component")
        except PinxitError:
            return None
        return record if record is not None and record["folder"] == folder.name else None

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

    @property
    def data_name(self) -> str:
        """The name of the data that it was trained on; of a path only its last part.

        Pages are shown to others, whom the folders of this machine do not concern.
        """
        source = str((self.config.get("data") or {}).get("source") or "")
        return source.rstrip("/\\").replace("\\", "/").split("/")[-1] or "images"

    @cached_property
    def info(self) -> DatasetInfo:
        record = self.config["dataset_info"]
        with naming(self.path):
            return DatasetInfo.from_json(record)

    @property
    def own_images(self) -> Images | None:
        """The images that the run was trained on, if they were given in Python; None: by name."""
        return None

    @property
    def load_options(self) -> LoadOptions:
        """How the training images were loaded, with the size, channels and range that they had."""
        record, info = self.config["data"].get("options") or {}, self.info
        color = "grey" if info.channels == 1 else "rgb"
        found = {"size": (info.height, info.width), "color": color, **info.conversion}
        with naming(self.path):
            return make_load_options(config_from_dict(LoadOptions, record), **found)

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

        It is built without memory first: PinxitError if config.json describes no model, or one that
        is larger than its files allow, or if the fitted tensors cannot be read or do not fit.
        """
        return self._build({})

    def _build(self, states: dict[str, dict[str, torch.Tensor]]) -> Any:
        """Build the model after a check that it fits `states`: the tensors of files, by file."""
        from pinxit.models.build_check import check_build
        from pinxit.models.saved_state import load_fitted

        family, options = self.family, self.config["model"]
        with naming(self.path):
            module = get_family(family)
            config = config_from_dict(module.Config, options)
        file, info = self.path / FITTED_FILE, self.info
        fitted = read_tensors(file) if file.is_file() else {}

        def build() -> Any:
            model = module.build(config, info)
            load_fitted(model, fitted)
            return model

        with naming(self.path):
            check_build(build, self._weight_sizes(), states)
        return build()

    def _weight_sizes(self) -> list[int]:
        """Return the sizes in bytes of the files that hold all weights."""
        files = [self.weights_path, *(self.path / "checkpoint").glob("*.safetensors")]
        return [file.stat().st_size for file in files if file.is_file()]

    def load(self, device: str | torch.device = "cpu") -> Any:
        """Load the model with its saved weights, in evaluation mode.

        Raises PinxitError if there are none yet, if they do not fit config.json, or if they are not
        finite.
        """
        from pinxit.models.build_check import check_finite, describe_error

        self.check_weights()
        tensors = read_tensors(self.weights_path)
        check_finite(tensors, str(self.weights_path))
        model = self._build({"model.safetensors": tensors})
        try:
            model.load_state_dict(tensors)
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            reason = describe_error(error)
            raise PinxitError(f"{self.weights_path} does not fit config.json: {reason}") from None
        model = model.to(device).eval()
        _RUN_OF_MODEL[model] = self
        return model

    def metrics(self) -> list[dict[str, float]]:
        """Return the rows of metrics.csv, without their empty cells.

        Raises PinxitError if the file is damaged.
        """
        file = self.path / "metrics.csv"
        return read_metrics(file) if file.is_file() else []

    def evaluation(self, split: str = "test") -> EvaluationRecord:
        """Return what was measured on a split; empty before `pinxit evaluate --split`.

        Of the run's own data: earlier versions wrote what was measured on other data to the same
        file. Raises PinxitError if the file is damaged.
        """
        file = self.path / evaluation_file(split)
        if not file.is_file():
            return {}
        record = read_evaluation_record(file)
        return record if self.is_on_own_data(record.get("protocol") or {}) else {}

    def is_on_own_data(self, protocol: Mapping[str, Any]) -> bool:
        """Return whether a protocol is of the run's own data, which may have changed since.

        True if it does not say, as those of the first versions.
        """
        fingerprint, source = protocol.get("fingerprint"), protocol.get("data")
        if fingerprint is None:
            return True
        own = self.config.get("data") or {}
        is_own_name = bool(source) and source == own.get("source")
        return own.get("fingerprint") in (None, fingerprint) or is_own_name

    def other_data(self, images: Images) -> str:
        """Return DATA as part of a file name if images are not the run's own, else ""."""
        own = (self.config.get("data") or {}).get("fingerprint")
        return "" if own in (None, images.fingerprint) else other_data_slug(images.source)

    def write(self, name: str, content: bytes | str | Mapping[str, Any]) -> Path:
        """Write a file of the run atomically; a dict is written as JSON."""
        if isinstance(content, Mapping):
            content = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        return write_atomically(self.path / name, content)


def read_tensors(file: Path) -> dict[str, torch.Tensor]:
    """Read a file of tensors. Raises PinxitError if it cannot be read."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        with utf8_path(file) as path:
            return load_file(path)
    except (RuntimeError, ValueError, KeyError, SafetensorError) as error:
        raise PinxitError(f"{file} is damaged: {error}.") from None


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put the folder before the text of an error that says what is wrong with its config.json."""
    try:
        yield
    except PinxitError as error:
        raise error.with_text(f"{path}: {error}") from None


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


def evaluation_file(split: str = "test", prior: str = "own", other_data: str = "") -> str:
    """Return the name of the file of a run that holds what was measured on a split.

    Samples of a `prior` that was fitted afterwards have a file of their own, and so have images
    that are not the run's own: see `Run.other_data`.
    """
    parts = [other_data, "" if split == "test" else split, "" if prior == "own" else prior]
    return "-".join(["evaluation", *filter(None, parts)]) + ".json"


def load(run: str | Path, device: str = "cpu") -> Any:
    """Load the model of a run, ready to use."""
    return Run(Path(run)).load(device)


def run_of(model: object) -> Run | None:
    """Return the run that a model was loaded from; None for any other object."""
    return None if model is None else _RUN_OF_MODEL.get(model)


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
