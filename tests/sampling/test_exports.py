"""Parquet, NPZ and CSV files."""

from __future__ import annotations

import io

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinxit.data.image_rows import ImageRows
from pinxit.data.images import Images
from pinxit.errors import PinxitError
from pinxit.sampling.exports import write_csv, write_embeddings_npz, write_embeddings_parquet
from tests.builders import blobs


def batches_of(images, vectors, size=4):
    """Batches of images with their vectors."""
    starts = range(0, len(images), size)
    return ((images[i : i + size], vectors[i : i + size]) for i in starts)


def read_parquet(images, vectors):
    file = io.BytesIO()
    assert write_embeddings_parquet(file, batches_of(images, vectors)) == vectors.shape
    return pq.read_table(file)


def test_embeddings_are_a_parquet_table_of_names_labels_splits_and_vectors():
    images = blobs(6)
    vectors = np.arange(18, dtype=np.float32).reshape(6, 3)
    table = read_parquet(images, vectors)
    assert table.column_names == ["name", "label", "split", "vector"]
    assert table["name"].to_pylist() == list(images.names)
    assert np.array_equal(np.array(table["vector"].to_pylist()), vectors)
    assert table["label"][0].as_py() in images.label_names
    table = read_parquet(Images(images.pixels), vectors)
    assert table.column_names == ["name", "vector"]
    assert table["name"].to_pylist() == ["0", "1", "2", "3", "4", "5"]


@given(count=st.integers(1, 12), dim=st.integers(1, 5), size=st.integers(1, 13))
def test_an_npz_file_has_the_arrays_that_numpy_would_save_at_once(count, dim, size):
    images = blobs(count)
    vectors = np.arange(count * dim, dtype=np.float32).reshape(count, dim)
    file = io.BytesIO()
    assert write_embeddings_npz(file, count, batches_of(images, vectors, size)) == (count, dim)
    file.seek(0)
    arrays = np.load(file)
    assert set(arrays) == {"name", "label", "split", "vector"}
    assert np.array_equal(arrays["vector"], vectors)
    assert arrays["vector"].dtype == np.float32
    assert np.array_equal(arrays["name"], np.array(images.names))
    assert arrays["label"][0] == images.label_names[images.labels[0]]


def test_an_npz_file_with_missing_rows_is_an_error():
    vectors = np.zeros((4, 2), np.float32)
    with pytest.raises(PinxitError, match="4 rows of 'vector', not 5"):
        write_embeddings_npz(io.BytesIO(), 5, batches_of(blobs(4), vectors))


def to_csv(rows) -> str:
    file = io.BytesIO()
    write_csv(file, rows)
    return file.getvalue().decode()


def test_csv_quotes_commas_and_quotes():
    text = to_csv([{"name": 'a,"b".png', "log_likelihood": -1.5}])
    assert text == 'name,log_likelihood\n"a,""b"".png",-1.5\n'
    assert to_csv([]) == ""
    assert to_csv([{"name": "caf\udce9"}]) == "name\ncaf\\udce9\n"


@given(rows=st.lists(st.integers(0, 29), max_size=40), most=st.integers(1, 40))
def test_batches_are_the_rows_in_order(rows, most):
    images = blobs(30)
    selected = ImageRows(images, np.array(rows, int))
    batches = list(selected.batches(most))
    assert all(1 <= len(batch) <= most for batch in batches)
    assert [name for batch in batches for name in batch.names] == [images.names[i] for i in rows]
    assert list(selected.load().names) == [images.names[i] for i in rows]
    assert [selected.name(k) for k in range(len(rows))] == [images.names[i] for i in rows]


def test_large_images_are_read_in_smaller_batches():
    wide = Images(np.broadcast_to(np.zeros((1, 1, 1, 3), np.uint8), (2_000, 1024, 1024, 3)))
    assert ImageRows.of(wide).batch_size() == 21  # of 3 MB: 64 MB
    assert ImageRows.of(blobs(3)).batch_size() == 1_024
    assert ImageRows.of(blobs(3)).batch_size(100) == 64  # models compute 64 at a time
