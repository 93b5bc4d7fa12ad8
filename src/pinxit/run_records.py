"""What the JSON and CSV files of a run hold, checked as they are read.

A run may be a stranger's. Types and ranges are checked here, so that whatever reads a run can rely
on them; unknown keys are kept, for a newer pinxit may have written them.
"""

from __future__ import annotations

import csv
import io
import math
import re
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict

from msgspec import Meta

from pinxit.data.typed_json import convert_json, read_json, read_text
from pinxit.errors import PinxitError

Count = Annotated[int, Meta(ge=0, le=2**53)]
Seconds = Annotated[float, Meta(ge=0, le=1e12)]
FolderName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]+$")]  # never a path


class DataRecord(TypedDict, total=False):
    """Where the training images came from."""

    source: str | None
    files: list[str]
    fingerprint: str | None
    options: dict[str, Any] | None  # of `LoadOptions`


class TrainedRecord(TypedDict, total=False):
    """How long a run was trained."""

    steps: Count
    images_seen: Count
    seconds: Seconds
    startup_seconds: Seconds
    skipped: Count
    best_step: Count | None
    best_validation_loss: float | None
    unit: str | None


class ComponentRecord(TypedDict):
    """The model that a run trains before its own."""

    option: FolderName
    family: str
    config: dict[str, Any]
    folder: FolderName
    share: Annotated[float, Meta(gt=0, lt=1)]
    budget: dict[str, float | None]
    pending: bool


class Request(TypedDict, total=False):
    """What a run was started with, before anything was chosen."""

    family: str
    model: dict[str, Any]
    training: dict[str, Any]
    load: dict[str, Any]


class RunConfig(TypedDict):
    """The content of config.json."""

    format: int
    family: str
    model: dict[str, Any]  # of the family's `Config`
    dataset_info: dict[str, Any]  # of `DatasetInfo`
    training: dict[str, Any]  # of `TrainingSettings`
    data: DataRecord
    finished: bool
    loss_unit: NotRequired[str]  # from the first step on
    trained: NotRequired[TrainedRecord | None]
    component: NotRequired[ComponentRecord | None]
    versions: NotRequired[dict[str, str]]
    created: NotRequired[str | None]
    command: NotRequired[str | None]
    requested: NotRequired[Request | None]


class SurgeryRecord(TypedDict, total=False):
    """How I(x; z) was measured."""

    images: Count
    upper_limit_of_mutual_information: float


class ProtocolRecord(TypedDict, total=False):
    """How the metrics were measured: what is read of it again."""

    fingerprint: str | None
    elbo_surgery: SurgeryRecord | None


class EvaluationRecord(TypedDict, total=False):
    """The content of evaluation.json."""

    metrics: dict[str, float | None]
    facts: dict[str, float]
    curves: dict[str, list[float | None]]
    protocol: dict[str, Any]
    warnings: list[str]
    verdict: dict[str, Any]


DEFAULTS = {"training": {}, "data": {}, "model": {}, "dataset_info": {}, "finished": False}


def read_config(file: Path, run_format: int) -> RunConfig:
    """Read a run's config.json.

    Raises PinxitError if it is damaged, is not that of a run, or has another format.
    """
    record = read_json(file)
    if not isinstance(record, dict) or "family" not in record:
        raise PinxitError(f"{file} is not the config.json of a run: it names no family.")
    _check_format(file.parent, record.get("format"), run_format)
    record = {**DEFAULTS, **{k: v for k, v in record.items() if v is not None or k not in DEFAULTS}}
    convert_json(record, RunConfig, str(file))
    return record  # type: ignore[return-value]  # checked; with its unknown keys


def _check_format(path: Path, number: object, expected: int) -> None:
    """Raise PinxitError for a folder of another format."""
    if type(number) is int and number == expected:
        return
    if isinstance(number, int) and number > expected:
        raise PinxitError(f"{path} was written by a newer pinxit; update it.")
    raise PinxitError(f"{path} was written by an older pinxit (format {number}); train it again.")


def read_evaluation_record(file: Path) -> EvaluationRecord:
    """Read what was measured of a run. Raises PinxitError if the file is damaged."""
    record = read_json(file, allow_nan=True)
    # numbers become floats: numpy cannot hold an int of 100 digits
    record |= convert_json(record, EvaluationRecord, str(file))
    convert_json(record.get("protocol", {}), ProtocolRecord, f"{file}: protocol")
    _check_curves(file, record.get("curves", {}))
    return record


def _check_curves(file: Path, curves: dict[str, list[float | None]]) -> None:
    """Raise PinxitError for a curve without points, or without one for each of its axis."""
    for name, values in curves.items():
        base = name.removesuffix("_error")
        axis = "frequencies" if name.startswith("spectrum_") else base
        if not values or len(values) != len(curves.get(axis, [])):
            raise PinxitError(f"{file} is damaged: the curve {name} has {len(values)} points.")
        if name == base and None in values:
            raise PinxitError(f"{file} is damaged: the curve {name} has a point without a value.")


def read_metrics(file: Path) -> list[dict[str, float]]:
    """Read the rows of metrics.csv, without their empty cells and an incomplete last line.

    Raises PinxitError, with the line, for a value that is no finite number.
    """
    complete = read_text(file).rpartition("\n")[0]  # the last line may be cut short
    reader = csv.DictReader(io.StringIO(complete))
    try:
        return [_parse_row(row, file, number) for number, row in enumerate(reader, 2)]
    except csv.Error as error:
        raise PinxitError(f"{file} is damaged: {error}.") from None


def _parse_row(row: dict[Any, Any], file: Path, line: int) -> dict[str, float]:
    values: dict[str, float] = {}
    for name, text in row.items():
        if name is None:
            raise PinxitError(f"{file} is damaged: line {line} has more cells than the header.")
        if not text:
            continue
        if not is_number(text):
            raise PinxitError(f"{file} is damaged: line {line}: {name} is {text[:40]!r}.")
        values[name] = float(text)
    if not 0 <= values.get("step", -1) <= 2**53:
        raise PinxitError(f"{file} is damaged: line {line} has no step.")
    return values


def is_number(text: str) -> bool:
    """Return whether a cell holds a finite number, written in ASCII."""
    plain = re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", text, re.ASCII | re.IGNORECASE)
    return plain is not None and math.isfinite(float(text))
