"""`pinxit embed` and `pinxit score`: what they print, write and refuse."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import pinxit
from pinxit.cli import main
from pinxit.data.image_rows import ImageRows
from pinxit.data.images import Images
from pinxit.data.shards.write import shard
from pinxit.sampling.inputs import match_labels
from tests.builders import blobs, make_run, save_npz


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


@pytest.fixture(scope="module")
def other_labels(tmp_path_factory) -> Path:
    """A plain run, one of labels, and images of which one label is unknown to it, one renumbered.

    The images are also in a folder and in shards.
    """
    root = tmp_path_factory.mktemp("labels")
    images = blobs(24)
    make_run(root / "plain", images, steps=5)
    make_run(root / "labelled", images, steps=5, condition="label")
    names = ("a new one", *reversed(images.label_names[:2]))
    others = dataclasses.replace(images, labels=np.arange(24) % 3, label_names=names)
    save_npz(root / "others.npz", others)
    for i, name in enumerate(names[k] for k in others.labels):
        (root / "folder" / name).mkdir(parents=True, exist_ok=True)
        others[i].save(root / "folder" / name / f"{i:02d}.png")
    shard(str(root / "folder"), root / "shards", per_shard=9, quiet=True)
    return root


@pytest.mark.parametrize("run", ["plain", "labelled"])
@pytest.mark.parametrize("data", ["others.npz", "folder", "shards"])
def test_labels_of_results_are_those_of_the_source(run, data, other_labels, run_pinxit, tmp_path):
    path, source = other_labels / run, str(other_labels / data)
    images = pinxit.load_images(source, progress=False)
    named = zip(images.names, images.labels, strict=True)
    expected = {name: images.label_names[label] for name, label in named}
    assert "a new one" in expected.values()
    run_pinxit("embed", path, source, "--out", tmp_path / "e.parquet")
    run_pinxit("embed", path, source, "--out", tmp_path / "e.npz", "--quiet")
    run_pinxit("score", path, source, "--out", tmp_path / "s.csv")
    run_pinxit("map", "embed", path, source, "--out", tmp_path / "map")
    tables = [pq.read_table(tmp_path / name).to_pydict() for name in ("e.parquet", "map")]
    with (tmp_path / "s.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    opened = pinxit.Run(path)
    for table in (rows, opened.score(source), opened.score(images)):
        tables.append({key: [row[key] for row in table] for key in ("name", "label")})
    tables.append(dict(np.load(tmp_path / "e.npz")))
    for table in tables:
        assert dict(zip(table["name"], table["label"], strict=True)) == expected


def test_labels_are_matched_before_the_model(other_labels):
    run = pinxit.Run(other_labels / "labelled")
    images = pinxit.load_images(str(other_labels / "others.npz"), progress=False)
    matched = match_labels(run.model, images)
    assert np.array_equal(run.embed(images), run.model.embed(matched))
    scores = {row["name"]: row["log_likelihood"] for row in run.score(images)}
    assert np.allclose([scores[name] for name in images.names], run.model.score(matched), atol=1e-3)


@pytest.mark.parametrize("command", ["embed", "score"])
def test_labels_that_a_model_does_not_know_are_printed_once(command, other_labels, capfd, tmp_path):
    out = str(tmp_path / ("e.npz" if command == "embed" else "s.csv"))
    words = [str(other_labels / "others.npz"), "--out", out]
    said = []
    for run, more in (("labelled", []), ("labelled", ["--quiet"]), ("plain", [])):
        assert main([command, str(other_labels / run), *words, *more]) == 0
        said.append(capfd.readouterr().err.count("labels that this model does not know: a new one"))
    getattr(pinxit.Run(other_labels / "labelled"), command)(words[0])
    said.append(capfd.readouterr().err.count("labels that this model does not know: a new one"))
    assert said == [1, 0, 0, 1]
