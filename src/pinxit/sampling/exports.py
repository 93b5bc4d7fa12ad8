"""Feature vectors as parquet and scores as CSV, for other programs to read."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float32

from pinxit.data.images import NO_SPLIT, SPLITS, Images
from pinxit.data.unicode_forms import escape_surrogates


def embeddings_to_parquet(images: Images, vectors: Float32[np.ndarray, "n dim"]) -> bytes:
    """Return a parquet file's bytes: columns name, label and split (if known), vector (float32)."""
    names = images.names if len(images.names) else [str(i) for i in range(len(images))]
    columns: dict[str, Any] = {"name": pa.array([escape_surrogates(str(name)) for name in names])}
    if images.labels is not None:
        labels = [images.label_names[i] if i >= 0 else None for i in images.labels.tolist()]
        columns["label"] = pa.array(labels, pa.string())
    if images.splits is not None:
        splits = [None if i == NO_SPLIT else SPLITS[i] for i in images.splits.tolist()]
        columns["split"] = pa.array(splits, pa.string())
    values = pa.array(np.ascontiguousarray(vectors, np.float32).ravel())
    columns["vector"] = pa.FixedSizeListArray.from_arrays(values, vectors.shape[1])
    with io.BytesIO() as file:
        pq.write_table(pa.table(columns), file)
        return file.getvalue()


def rows_to_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows as CSV, with the keys of the first one as header."""
    with io.StringIO(newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return file.getvalue()
