"""Commands on streams: all images of the shards, a batch at a time."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import pinxit
from pinxit.cli import main
from pinxit.data import shape_choice
from pinxit.data.load import load_images
from pinxit.data.streams import plan, sample
from pinxit.runs import Run
from tests.data.streams.shard_sets import image_bytes, write_shard, write_shards

SMALL = ["--latent-dim", "4", "--network", "mlp", "--width", "16", "--depth", "1", "--no-report"]


@pytest.fixture(scope="module")
def runs_of_stream(tmp_path_factory) -> tuple[Path, Path]:
    """A run, trained by the command line on a stream of five shards."""
    folder = tmp_path_factory.mktemp("stream")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PINXIT_CACHE", str(folder / "cache"))
        shards, run = write_shards(folder / "shards", [30, 20, 30, 0, 40]), folder / "run"
        words = ["train", "vae", str(shards), "--stream", "on", "--steps", "4", "--out", str(run)]
        assert main([*words, "--batch-size", "8", *SMALL]) == 0
    return run, shards


@pytest.fixture(autouse=True)
def small_sample(tmp_path, monkeypatch):
    """Samples of a few images, so that a command that stops at the sample is found out."""
    monkeypatch.setenv("PINXIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sample, "MAX_TRAINING", 10)
    monkeypatch.setattr(sample, "MAX_HELD_OUT", 4)


def test_embed_has_every_image_of_a_stream_once(runs_of_stream, tmp_path, capsys):
    run, shards = runs_of_stream
    out = tmp_path / "x.parquet"
    assert main(["embed", str(run), "--out", str(out)]) == 0
    table = pq.read_table(out).to_pydict()
    whole = load_images(shards, progress=False, stream="off")
    assert table["name"] == list(whole.names)
    expected = Run(run).load().embed(whole)
    np.testing.assert_allclose(np.array(table["vector"]), expected, atol=1e-5)
    train = tmp_path / "train.parquet"
    assert main(["embed", str(run), "--split", "train", "--out", str(train)]) == 0
    assert set(pq.read_table(train)["split"].to_pylist()) == {"train"}
    assert main(["embed", str(run), "--out", str(tmp_path / "x.npz")]) == 2
    assert "--out FILE.parquet" in capsys.readouterr().err


def test_score_has_every_image_of_a_stream_once(runs_of_stream, tmp_path):
    run, shards = runs_of_stream
    out = tmp_path / "x.csv"
    assert main(["score", str(run), "--split", "all", "--out", str(out)]) == 0
    rows = list(csv.DictReader(out.open()))
    whole = load_images(shards, progress=False, stream="off")
    assert sorted(row["name"] for row in rows) == sorted(whole.names)
    assert out.with_suffix(".png").stat().st_size > 0
    lowest = pinxit.Run(run).score(split="all")
    assert len(lowest) == 120
    assert lowest[0]["log_likelihood"] == min(float(row["log_likelihood"]) for row in rows)


@pytest.fixture(scope="module")
def captions_of_stream(tmp_path_factory) -> tuple[Path, Path]:
    """A captioning run, trained on a stream of three shards."""
    folder = tmp_path_factory.mktemp("captions")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PINXIT_CACHE", str(folder / "cache"))
        shards, run = write_shards(folder / "shards", [30, 0, 50], captions=True), folder / "run"
        words = ["train", "seq2seq", str(shards), "--source", "image", "--target", "text"]
        words += ["--width", "16", "--heads", "2", "--depth", "1", "--decoder-depth", "1"]
        words += ["--stream", "on", "--steps", "2", "--batch-size", "8", "--no-report"]
        assert main([*words, "--max-text-tokens", "8", "--out", str(run)]) == 0
    return run, shards


@pytest.mark.parametrize("count", [1, 3, 18, 40, 79, 80, 500])
def test_captions_are_as_many_as_of_loaded_images(count, captions_of_stream, capsys):
    run, shards = captions_of_stream
    words = ["caption", str(run), str(shards), "-n", str(count), "--num-beams", "1", "--json"]
    assert main(words) == 0
    streamed = json.loads(capsys.readouterr().out)["images"]
    assert len(streamed) == min(count, 80)
    assert len({image["name"] for image in streamed}) == len(streamed)
    opened = pinxit.Run(run)
    stream = opened.images.stream
    for split in ("train", "test"):
        captions = opened.caption(split=split, num_images=count, num_beams=1)
        assert len(captions) == min(count, stream.count(split))


def test_captions_of_a_stream_are_those_of_loaded_images(captions_of_stream, capsys):
    run, shards = captions_of_stream
    whole = load_images(shards, progress=False, stream="off")
    captions = pinxit.Run(run).caption(str(shards), num_beams=1)
    expected = pinxit.Run(run).caption(whole, num_beams=1)
    assert [row[0].text for row in captions] == [row[0].text for row in expected]
    assert main(["caption", str(run), str(shards), "-n", "80", "--num-beams", "1", "--json"]) == 0
    images = json.loads(capsys.readouterr().out)["images"]
    assert [image["name"] for image in images] == list(whole.names)


def test_map_has_every_image_of_a_stream_once(runs_of_stream, tmp_path):
    run, shards = runs_of_stream
    out = tmp_path / "out"
    words = ["map", "embed", str(run), "--out", str(out), "--block-size", "25"]
    assert main(words) == 0
    table = pq.read_table(out).to_pydict()
    whole = load_images(shards, progress=False, stream="off")
    assert table["name"] == list(whole.names)
    assert table["row"] == list(range(120))
    assert main(words) == 0


def test_map_leaves_out_images_of_a_stream_that_cannot_be_read(
    runs_of_stream, tmp_path, capsys, monkeypatch
):
    run, _ = runs_of_stream
    monkeypatch.setattr(shape_choice, "MAX_BYTES", 19 * 64)
    monkeypatch.setattr(plan, "LARGE_BYTES", 0)
    files = [(f"{i:02d}.png", image_bytes(i) if i % 4 else b"broken") for i in range(20)]
    write_shard(tmp_path / "set/0.tar", files)
    for _ in range(2):
        words = ["map", "embed", str(run), str(tmp_path / "set"), "--out", str(tmp_path / "out")]
        assert main(words) == 0
    assert pq.read_table(tmp_path / "out")["row"].to_pylist() == [i for i in range(20) if i % 4]
    assert "0/00 cannot be read" in capsys.readouterr().err
    skipped = (tmp_path / "out/_skipped.jsonl").read_text().splitlines()
    assert [json.loads(line)["name"] for line in skipped] == [f"image {i}" for i in range(0, 20, 4)]


def test_data_of_a_command_need_no_shards_where_the_run_has_a_stream(runs_of_stream, tmp_path):
    run, _ = runs_of_stream
    (tmp_path / "a.png").write_bytes(image_bytes(0))
    (tmp_path / "images").mkdir()
    (tmp_path / "images/b.png").write_bytes(image_bytes(1))
    for data in ("a.png", "images"):
        out = tmp_path / "x.parquet"
        assert main(["embed", str(run), str(tmp_path / data), "--out", str(out)]) == 0


def test_other_commands_take_the_sample(runs_of_stream, capsys, tmp_path, monkeypatch):
    run, shards = runs_of_stream
    monkeypatch.chdir(tmp_path)  # where `look` writes its sheet
    few = ["--no-distances", "--probe-train-size", "0", "--likelihood-images", "4"]
    assert main(["evaluate", str(run), "--iw-samples", "2", *few]) == 0
    assert main(["reconstruct", str(run), "-n", "4"]) == 0
    assert main(["look", str(shards), "--stream", "on", "--json"]) == 0
    text = capsys.readouterr().out
    facts = json.loads(text[text.index("{\n") :])
    assert facts["stream"]["images"] == 120
