"""The values of single images behind an evaluation's metrics, kept in a table beside it.

`evaluation-images.csv` has a row for each image: `name`, `group` if the images have groups,
and a column for each metric that is a mean over images, empty where an image was not measured. A
statistic that is no mean, such as BLEU, has values whose mean is the statistic (jackknife).
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64

from pinxit.data.atomic_write import write_atomically
from pinxit.data.images import Images
from pinxit.data.unicode_forms import escape_surrogates
from pinxit.errors import PinxitError
from pinxit.evaluation.estimates import Estimate
from pinxit.runs import Run, evaluation_file

NAME, GROUP = "name", "group"


@dataclass(frozen=True)
class PerImage:
    """The values of each image, by metric; NaN where an image was not measured."""

    names: list[str]
    groups: Int64[np.ndarray, " n"] | None
    values: dict[str, Float64[np.ndarray, " n"]]


def per_image_file(split: str) -> str:
    """Return the name of the table of a split: `evaluation-images.csv` for the test split."""
    return per_image_name(evaluation_file(split))


def per_image_name(name: str) -> str:
    """Return the name of the table beside a file of metrics: `evaluation-images-x.csv`."""
    stem = name.removesuffix(".json")
    if stem.startswith("evaluation"):
        return f"evaluation-images{stem.removeprefix('evaluation')}.csv"
    return f"{stem}-images.csv"


def collect_per_image(estimates: Mapping[str, Estimate], images: Images) -> PerImage:
    """Arrange the values of single images by the images of the evaluation."""
    rows = {name: row for row, name in enumerate(images.names)}
    values = {}
    for metric, estimate in estimates.items():
        if estimate.per_image is None or not set(estimate.names) <= rows.keys():
            continue
        if len(estimate.names) == len(estimate.per_image) > 0:
            column = np.full(len(images), np.nan)
            column[[rows[name] for name in estimate.names]] = estimate.per_image
            values[metric] = column
    return PerImage(list(images.names), images.groups, values)


def write_per_image(path: Path, table: PerImage) -> None:
    """Write the table, or remove that of an earlier evaluation if no image has a value."""
    if not table.values:
        path.unlink(missing_ok=True)
        return
    columns: dict[str, Iterable[object]] = {NAME: map(escape_surrogates, table.names)}
    if table.groups is not None:
        columns[GROUP] = table.groups.tolist()
    for metric, values in table.values.items():
        columns[metric] = ("" if math.isnan(v) else f"{v:.9g}" for v in values.tolist())
    with io.StringIO(newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
        write_atomically(path, file.getvalue())


def read_per_image(run: Run, split: str) -> PerImage:
    """Read the table of a run; an empty one if there is none.

    Raises PinxitError if the file is damaged.
    """
    path = run.path / per_image_file(split)
    if not path.is_file():
        return PerImage([], None, {})
    try:
        with path.open(encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(file, strict=True)
        columns = dict(zip(header, zip(*rows, strict=True), strict=True))
        names = list(columns.pop(NAME))
        groups = columns.pop(GROUP, None)
        values = {
            metric: np.array([float(text or "nan") for text in column])
            for metric, column in columns.items()
        }
        numbers = None if groups is None else np.array(list(map(int, groups)), np.int64)
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise PinxitError(
            f"{path} is damaged ({error}). Measure again: pinxit evaluate {run.shell_path}"
        ) from None
    return PerImage(names, numbers, values)
