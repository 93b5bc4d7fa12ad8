"""Feature vectors as parquet or npz and scores as CSV, for other programs to read."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32

from pinxit.data.images import NO_SPLIT, SPLITS, Images
from pinxit.data.unicode_forms import escape_surrogates


def embeddings_to_parquet(images: Images, vectors: Float32[np.ndarray, "n dim"]) -> bytes:
    """Return a parquet file's bytes: columns name, label and split (if known), vector (float32)."""
    import pyarrow as pa  # takes 0.1 s
    import pyarrow.parquet as pq

    columns: dict[str, Any] = {
        name: pa.array(texts, pa.string()) for name, texts in _describe_rows(images).items()
    }
    values = pa.array(np.ascontiguousarray(vectors, np.float32).ravel())
    columns["vector"] = pa.FixedSizeListArray.from_arrays(values, vectors.shape[1])
    with io.BytesIO() as file:
        pq.write_table(pa.table(columns), file)
        return file.getvalue()


def embeddings_to_npz(images: Images, vectors: Float32[np.ndarray, "n dim"]) -> bytes:
    """Return an npz file's bytes: arrays name, label and split (if known; "" for none), vector."""
    texts: dict[str, Any] = {
        name: np.array([text or "" for text in column], np.str_)
        for name, column in _describe_rows(images).items()
    }
    with io.BytesIO() as file:
        np.savez_compressed(file, **texts, vector=np.ascontiguousarray(vectors, np.float32))
        return file.getvalue()


def _describe_rows(images: Images) -> dict[str, list[str | None]]:
    """Return the name of each image and, if known, its label and its split."""
    names = images.names if len(images.names) else [str(i) for i in range(len(images))]
    columns: dict[str, list[str | None]] = {"name": [escape_surrogates(str(n)) for n in names]}
    if images.labels is not None:
        labels = images.labels.tolist()
        columns["label"] = [images.label_names[i] if i >= 0 else None for i in labels]
    if images.splits is not None:
        splits = images.splits.tolist()
        columns["split"] = [None if i == NO_SPLIT else SPLITS[i] for i in splits]
    return columns


def rows_to_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows as CSV, with the keys of the first one as header."""
    with io.StringIO(newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return file.getvalue()
