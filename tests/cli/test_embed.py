"""`pinxit embed` and `pinxit score`: what they print, write and refuse."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

import pinxit


def test_embed_writes_the_vectors_of_all_splits(folder, run_pinxit):
    path = run_pinxit("embed", folder / "run")[-1]
    table = pq.read_table(path)
    assert table.num_rows == 120
    assert set(table["split"].to_pylist()) == {"train", "validation", "test"}
    record = json.loads("\n".join(run_pinxit("embed", folder / "run", folder / "0.png", "--json")))
    assert (record["count"], record["dim"]) == (1, 4)
    model = pinxit.load(folder / "run")
    images = pinxit.load_images(folder / "blobs.npz")
    assert np.array_equal(np.array(table["vector"].to_pylist(), np.float32), model.embed(images))


def test_score_lists_the_most_unusual_image_first(folder, run_pinxit, fail):
    path = Path(run_pinxit("score", folder / "run", "--samples", 4)[-1])
    assert path.name == "scores-test-k4.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    values = [float(row["log_likelihood"]) for row in rows]
    assert len(values) == 30
    assert values == sorted(values)
    assert path.with_suffix(".png").is_file()
    words = ["score", folder / "run", folder / "0.png", folder / "1.png", "--json"]
    record = json.loads("\n".join(run_pinxit(*words)))
    assert len(record["scores"]) == 2
    assert "1 or more" in fail("score", folder / "run", "--samples", 0)


def test_score_takes_another_split(folder, run_pinxit, fail):
    path = Path(run_pinxit("score", folder / "run", "--split", "validation")[-1])
    assert path.name == "scores-validation-k1.csv"
    data = folder / "blobs.npz"
    from_data = run_pinxit("score", folder / "run", data, "--split", "validation")[-1]
    assert Path(from_data).name == "scores-blobs-validation-k1.csv"
    assert Path(from_data).read_text() == path.read_text()
    error = fail("score", folder / "run", "--split", "test-held-out")
    assert "no images of the split 'test-held-out'; its splits: train" in error
