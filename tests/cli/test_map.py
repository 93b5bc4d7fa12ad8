"""`pinxit map`: what it prints, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pinxit.cli import main


def test_map_prints_the_folder_and_goes_on(folder, run_pinxit, tmp_path):
    words = ["map", "embed", folder / "run", folder / "blobs.npz", "--out", tmp_path / "vectors"]
    words += ["--block-size", 40]
    lines = run_pinxit(*words, "--shard", "1/2")
    assert lines == ["120 images, 1 of 3 blocks done, 1 of them now", str(tmp_path / "vectors")]
    record = json.loads("\n".join(run_pinxit(*words, "--json")))
    assert (record["computed"], record["missing"], record["complete"]) == (2, 0, True)
    assert pq.read_table(record["path"]).num_rows == 120


def test_without_a_folder_it_is_in_the_run(folder, run_pinxit):
    path = Path(run_pinxit("map", "score", folder / "labelled", "--split", "test")[-1])
    assert path == folder / "labelled" / "map-score-test"
    assert pq.read_table(path).num_rows == 30


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--shard", "3/2"], "--shard is 0/2 to 1/2, counted from 0, not '3/2'."),
        (["--shard", "x"], "--shard is i/n such as 0/4, not 'x'."),
        (["--block-size", "0"], "--block-size must be 1 or more, not 0."),
        (["--samples", "3"], "--samples is an option of score, not of embed."),
        (["--address", "a:1"], "--address is that of a Ray cluster: it needs engine ray."),
        (["--engine", "spark"], "--engine is local or ray, not 'spark'."),
    ],
)
def test_a_wrong_option_is_named(words, error, folder, capsys, tmp_path):
    code = main(["map", "embed", str(folder / "run"), *words, "--out", str(tmp_path / "out")])
    assert (code, capsys.readouterr().err.strip()) == (2, f"pinxit: {error}")
    assert not (tmp_path / "out").exists()


def test_ray_is_named_where_it_is_missing(folder, fail, tmp_path, monkeypatch):
    find = __import__("pinxit.extras").extras.find_spec
    monkeypatch.setattr("pinxit.extras.find_spec", lambda n: None if n == "ray" else find(n))
    error = fail("map", "embed", folder / "run", "--engine", "ray", "--out", tmp_path / "out")
    assert "needs ray: pip install 'pinxit[ray]', or give each machine" in error
