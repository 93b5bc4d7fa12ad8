"""The values of single images behind an evaluation's metrics, kept in a table beside it.

`evaluation-images.parquet` has a row for each image: `name`, `group` if the images have groups,
and a column for each metric that is a mean over images, empty where an image was not measured. A
statistic that is no mean, such as BLEU, has values whose mean is the statistic (jackknife).
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64

from pinxit.data.atomic_write import write_atomically
from pinxit.data.images import Images
from pinxit.data.unicode_forms import escape_surrogates, utf8_path
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
    """Return the name of the table of a split: `evaluation-images.parquet` for the test split."""
    return per_image_name(evaluation_file(split))


def per_image_name(name: str) -> str:
    """Return the name of the table beside a file of metrics: `evaluation-images-x.parquet`."""
    stem = name.removesuffix(".json")
    if stem.startswith("evaluation"):
        return f"evaluation-images{stem.removeprefix('evaluation')}.parquet"
    return f"{stem}-images.parquet"


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
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not table.values:
        path.unlink(missing_ok=True)
        return
    columns: dict[str, pa.Array] = {
        NAME: pa.array([escape_surrogates(name) for name in table.names])
    }
    if table.groups is not None:
        columns[GROUP] = pa.array(table.groups)
    for metric, values in table.values.items():
        columns[metric] = pa.array(values.astype(np.float32), mask=np.isnan(values))
    with io.BytesIO() as file:
        pq.write_table(pa.table(columns), file, compression="zstd")
        write_atomically(path, file.getvalue())


def read_per_image(run: Run, split: str) -> PerImage:
    """Read the table of a run; an empty one if there is none.

    Raises PinxitError if the file is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = run.path / per_image_file(split)
    if not path.is_file():
        return PerImage([], None, {})
    try:
        with utf8_path(path) as readable:
            table = pq.read_table(readable)
        groups = table[GROUP].to_numpy() if GROUP in table.column_names else None
        metrics = [name for name in table.column_names if name not in (NAME, GROUP)]
        values = {name: table[name].to_numpy().astype(np.float64) for name in metrics}
        names = table[NAME].to_pylist()
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise PinxitError(f"{path} is damaged: {reason}.") from None
    if not all(isinstance(name, str) for name in names):
        raise PinxitError(f"{path} is damaged: an image has no name.")
    if groups is not None and groups.dtype.kind not in "iu":
        raise PinxitError(f"{path} is damaged: groups are {groups.dtype}, not whole numbers.")
    return PerImage(names, groups, values)
