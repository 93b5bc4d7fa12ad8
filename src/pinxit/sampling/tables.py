"""Vectors and scores as files that other programs read."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32

from pinxit.data.pictures import SPLITS, Pictures


def embeddings(pictures: Pictures, vectors: Float32[np.ndarray, "n dim"]) -> bytes:
    """The bytes of a parquet file: name, label and split (where known), vector of float32."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = pictures.names if len(pictures.names) else [str(i) for i in range(len(pictures))]
    columns: dict[str, Any] = {"name": pa.array([str(name) for name in names])}
    if pictures.labels is not None:
        labels = [pictures.label_names[i] if i >= 0 else None for i in pictures.labels.tolist()]
        columns["label"] = pa.array(labels, pa.string())
    if pictures.splits is not None:
        columns["split"] = pa.array([SPLITS[i] for i in pictures.splits.tolist()])
    flat = pa.array(np.ascontiguousarray(vectors, np.float32).ravel())
    columns["vector"] = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
    with io.BytesIO() as file:
        pq.write_table(pa.table(columns), file)
        return file.getvalue()


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as CSV, with a header."""
    with io.StringIO(newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return file.getvalue()
