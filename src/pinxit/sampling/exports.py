"""Feature vectors as parquet or npz and scores as CSV, for other programs to read.

All are written batch by batch: what is in memory does not grow with the number of images, but for
their names and labels.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Float32

from pinxit.data.images import NO_SPLIT, SPLITS, Images
from pinxit.data.unicode_forms import escape_surrogates
from pinxit.errors import PinxitError

Vectors = Float32[np.ndarray, "n dim"]
Embedded = Iterable[tuple[Images, Vectors]]  # batches of images with their vectors, one at least

TEXTS_AT_ONCE = 4_096  # of a column of an npz file, where all take the room of the longest


def write_embeddings_parquet(file: BinaryIO, batches: Embedded) -> tuple[int, int]:
    """Write columns name, label and split (if known), vector (float32), a row group per batch.

    Returns the number of vectors and their dimension.
    """
    import pyarrow as pa  # takes 0.1 s
    import pyarrow.parquet as pq

    writer, count, dim = None, 0, 0
    try:
        for images, vectors in batches:
            columns: dict[str, Any] = {
                name: pa.array(texts, pa.string())
                for name, texts in describe_rows(images, count).items()
            }
            values, dim = np.ascontiguousarray(vectors, np.float32), vectors.shape[1]
            columns["vector"] = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), dim)
            table = pa.table(columns)
            writer = writer or pq.ParquetWriter(file, table.schema)
            writer.write_table(table)
            count += len(vectors)
    finally:
        if writer is not None:
            writer.close()
    return count, dim


def write_embeddings_npz(file: BinaryIO, count: int, batches: Embedded) -> tuple[int, int]:
    """Write arrays name, label and split (if known; "" for none), vector (float32).

    `count` is the number of vectors in all batches. Returns it and their dimension.
    """
    texts: dict[str, list[str]] = {}
    shape: list[int] = []

    def vectors_of_batches() -> Iterator[np.ndarray]:
        for images, vectors in batches:
            done = len(texts["name"]) if texts else 0
            for column, values in describe_rows(images, done).items():
                texts.setdefault(column, []).extend(value or "" for value in values)
            shape[:] = vectors.shape
            yield np.ascontiguousarray(vectors, np.float32)

    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        _write_array(archive, "vector", count, vectors_of_batches())
        for column, values in texts.items():
            kind = f"<U{max(1, *map(len, values))}"
            starts = range(0, count, TEXTS_AT_ONCE)
            parts = (np.array(values[i : i + TEXTS_AT_ONCE], kind) for i in starts)
            _write_array(archive, column, count, parts)
    return count, shape[1]


def _write_array(
    archive: zipfile.ZipFile, name: str, count: int, parts: Iterable[np.ndarray]
) -> None:
    """Write an array of `count` rows, in parts. Raises PinxitError if rows are missing."""
    done = 0
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        for part in parts:
            if done == 0:
                descr = np.lib.format.dtype_to_descr(part.dtype)
                shape = (count, *part.shape[1:])
                header = {"descr": descr, "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
            file.write(part.tobytes())
            done += len(part)
    if done != count:
        raise PinxitError(f"there are {done:,} rows of '{name}', not {count:,}.")


def describe_rows(images: Images, first: int = 0) -> dict[str, list[str | None]]:
    """Return the name of each image and, if known, its label and its split.

    Images without names are numbered from `first`.
    """
    names = images.names if len(images.names) else map(str, range(first, first + len(images)))
    columns: dict[str, list[str | None]] = {"name": [escape_surrogates(str(n)) for n in names]}
    if images.labels is not None:
        labels = images.labels.tolist()
        columns["label"] = [images.label_names[i] if i >= 0 else None for i in labels]
    if images.splits is not None:
        splits = images.splits.tolist()
        columns["split"] = [None if i == NO_SPLIT else SPLITS[i] for i in splits]
    return columns


def write_csv(file: BinaryIO, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write the rows as CSV in UTF-8, with the keys of the first one as header."""
    text = io.TextIOWrapper(file, "utf-8", "backslashreplace", newline="")
    writer = None
    try:
        for row in rows:
            if writer is None:
                writer = csv.DictWriter(text, list(row), lineterminator="\n")
                writer.writeheader()
            writer.writerow(row)
    finally:
        text.detach()  # writes what is left; the file stays open
