"""Parquet and CSV files."""

from __future__ import annotations

import io

import numpy as np
import pyarrow.parquet as pq

from pinxit.data.images import Images
from pinxit.sampling.exports import embeddings_to_parquet, rows_to_csv
from tests.builders import blobs


def test_embeddings_are_a_parquet_table_of_names_labels_splits_and_vectors():
    images = blobs(6)
    vectors = np.arange(18, dtype=np.float32).reshape(6, 3)
    table = pq.read_table(io.BytesIO(embeddings_to_parquet(images, vectors)))
    assert table.column_names == ["name", "label", "split", "vector"]
    assert table["name"].to_pylist() == list(images.names)
    assert np.array_equal(np.array(table["vector"].to_pylist()), vectors)
    assert table["label"][0].as_py() in images.label_names
    bare = Images(images.pixels)
    table = pq.read_table(io.BytesIO(embeddings_to_parquet(bare, vectors)))
    assert table.column_names == ["name", "vector"]


def test_csv_quotes_commas_and_quotes():
    text = rows_to_csv([{"name": 'a,"b".png', "log_likelihood": -1.5}])
    assert text == 'name,log_likelihood\n"a,""b"".png",-1.5\n'
    assert rows_to_csv([]).strip() == ""
