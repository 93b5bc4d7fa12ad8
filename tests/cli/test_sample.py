"""`pinxit sample` and `pinxit reconstruct`: what they print, write and refuse."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest


def test_sample_prints_the_path_of_the_grid(folder, run_pinxit):
    path = Path(run_pinxit("sample", folder / "run")[-1])
    assert path == folder / "run" / "sample-seed0-n64.png"
    content = path.read_bytes()
    run_pinxit("sample", folder / "run")
    assert path.read_bytes() == content
    other = Path(run_pinxit("sample", folder / "run", "--seed", 1, "--temperature", 0.5)[-1])
    assert other.name == "sample-seed1-n64-t0.5.png"
    assert other.read_bytes() != content


def test_sampled_pixels_do_not_depend_on_the_number_of_images(folder, run_pinxit):
    for n in (3, 10):
        run_pinxit("sample", folder / "run", "-n", n, "-o", f"deep/{n}.npy")
    assert np.array_equal(np.load("deep/3.npy"), np.load("deep/10.npy")[:3])


def test_sample_of_a_label(folder, run_pinxit, fail):
    path = run_pinxit("sample", folder / "labelled", "-n", 4, "--label", "north-east")[-1]
    assert path.endswith("sample-seed0-n4-north-east.png")
    error = fail("sample", folder / "labelled", "--label", "north")
    assert "no label 'north'; there are: north-east" in error


def test_sample_prints_its_parameters_as_json(folder, run_pinxit):
    record = json.loads(
        "\n".join(run_pinxit("sample", folder / "run", "-n", 2, "--seed", 3, "--json"))
    )
    path = str(folder / "run" / "sample-seed3-n2.png")
    assert record == {"path": path, "num_images": 2, "label": None, "seed": 3}


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["-n", "0"], "at least 1"),
        (["--temperature", "-1"], "temperature must be 0 or more"),
        (["--label", "north-east"], "without labels"),
        (["-o", "x.svg"], ".webp, .npy or .gif"),
        (["-o", "/proc/none/x.png"], "cannot be written"),
        (["--live"], "a vae generates them at once"),
        (["-o", "x.gif"], "a vae generates them at once"),
        (["--top-k", "3"], "does not use --top-k; it uses --seed, --start and --temperature."),
    ],
)
def test_sample_refuses_invalid_options(folder, fail, words, text):
    assert text in fail("sample", folder / "run", *words)


def test_a_folder_that_is_no_run_is_an_error(folder, fail):
    assert "no run at nowhere" in fail("sample", "nowhere")
    assert "has no config.json" in fail("evaluate", ".")


def test_reconstruct_takes_the_test_split_or_any_images(folder, run_pinxit, fail):
    run = folder / "run"
    assert run_pinxit("reconstruct", run)[-1] == str(run / "reconstruct-test-n30.png")
    lines = run_pinxit("reconstruct", run, *(folder / f"{i}.png" for i in range(3)))
    assert lines[-1].endswith("reconstruct-3-files-n3.png")
    lines = run_pinxit("reconstruct", run, folder / "blobs.npz", "-n", 5, "--json")
    record = json.loads("\n".join(lines))
    assert len(record["images"]) == 5
    assert record["psnr"] == pytest.approx(np.mean([row["psnr"] for row in record["images"]]))
    assert Path(record["path"]).is_file()
    assert "1 or more" in fail("reconstruct", run, "-n", 0)
    assert "none.png" in fail("reconstruct", run, folder / "none.png")


def test_quiet_prints_no_notes(folder, capsys, run_pinxit):
    words = ["reconstruct", str(folder / "run"), str(folder / "1.png")]
    from pinxit.cli import main

    assert main(words) == 0
    assert "1.png is 20 x 30; read as 8 x 8, grey." in capsys.readouterr().err
    assert main([*words, "--quiet"]) == 0
    assert capsys.readouterr().err == ""


def test_samples_as_shards(folder, run_pinxit, fail, tmp_path):
    out = tmp_path / "shards"
    words = ["sample", folder / "labelled", "-n", 25, "--out", out, "--shard-size", 10]
    lines = run_pinxit(*words, "--shard", "1/2")
    assert lines == ["25 images, 1 of 3 shards done, 1 of them now", str(out)]
    record = json.loads("\n".join(run_pinxit(*words, "--json")))
    assert (record["computed"], record["missing"], record["complete"]) == (2, 0, True)
    assert run_pinxit("look", out, "--out", tmp_path / "sheet.png")
    run = tmp_path / "run"
    run_pinxit("train", "vae", out, "--steps", 1, "--width", 8, "--out", run, "--quiet")
    assert (run / "model.safetensors").is_file()
    assert "samples of labelled, not" not in fail(*words, "--seed", 1)


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--out", "shards", "--shard", "3/2"], "--shard is 0/2 to 1/2, counted from 0"),
        (["--out", "shards", "--shard-size", "0"], "--shard-size must be 1 or more, not 0."),
        (["--out", "shards", "-n", "0"], "--num-images must be 1 or more, not 0."),
        (["--out", "shards", "--live"], "--live is of a grid or .npy, not of a folder"),
        (["--out", "shards", "--prior", "mixture"], "--prior mixture is of a grid or .npy"),
        (["--out", "shards", "--address", "a:1"], "--address is that of a Ray cluster"),
        (["--out", "grid.png", "--shard", "0/2"], "--shard is of a folder of shards: name one"),
        (["--shard-size", "5"], "--shard-size is of a folder of shards: name one"),
        (["--engine", "ray"], "--engine ray is of a folder of shards: name one"),
        (["--out", "grid.bmp"], "--out ends in .png"),
        (["--prior", "mixture", "--live"], "--live shows images that are generated token by token"),
        (["--prior", "realnvp", "--out", "x.gif"], "--out *.gif shows images that are generated"),
    ],
)
def test_options_of_shards_and_of_grids_are_kept_apart(words, error, folder, fail, monkeypatch):
    monkeypatch.chdir(folder)
    assert error in fail("sample", folder / "run", *words)
    assert not (folder / "shards").exists()


def test_levels_are_of_a_ladder(folder, fail):
    error = fail("reconstruct", folder / "run", "--levels", 1)
    assert "levels are of a VAE trained with --latents ladder; this model has none" in error
    assert "it uses --seed" in fail("sample", folder / "run", "--level-temperatures", 1, 0.5)
