"""`pinxit embed` and `pinxit score`: what they print, write and refuse."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import pinxit
from pinxit.data.image_rows import ImageRows
from pinxit.data.images import Images


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


@pytest.fixture
def rows_taken(monkeypatch) -> list[int]:
    """How many images are copied into memory at a time, where a batch is of 8."""
    counts = []
    take = Images.take

    def count(images, rows):
        counts.append(len(rows))
        return take(images, rows)

    monkeypatch.setattr(ImageRows, "batch_size", lambda self, max_images=8: min(8, max_images))
    monkeypatch.setattr(Images, "take", count)
    return counts


@pytest.mark.parametrize("suffix", ["parquet", "npz"])
def test_embed_holds_one_batch(suffix, folder, run_pinxit, rows_taken, tmp_path):
    run_pinxit("embed", folder / "run", "--split", "train", "--out", tmp_path / f"x.{suffix}")
    assert (max(rows_taken), sum(rows_taken)) == (8, 60)


def test_score_holds_one_batch(folder, run_pinxit, rows_taken, tmp_path):
    run_pinxit("score", folder / "run", "--split", "all", "--out", tmp_path / "x.csv")
    assert sorted(rows_taken)[-2:] == [8, 48], "48 images are on the sheet"


def test_caption_holds_one_batch(text_runs, folder, run_pinxit, rows_taken):
    words = ["caption", text_runs / "caption", folder / "blobs.npz", "-n", 100, "--num-beams", 1]
    assert len(run_pinxit(*words)) == 100
    assert (max(rows_taken), sum(rows_taken)) == (8, 100)


def test_captions_do_not_depend_on_the_batch(text_runs, folder, run_pinxit, monkeypatch):
    words = ["caption", text_runs / "caption", folder / "blobs.npz", "-n", 20, "--temperature", 1]
    at_once = run_pinxit(*words)
    monkeypatch.setattr(ImageRows, "batch_size", lambda self, max_images=0: 7)
    assert run_pinxit(*words) == at_once
