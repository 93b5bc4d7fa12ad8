"""The commands that make things from a run, and `evaluate`: what they print, write and refuse."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import save

import pinxit
from pinxit.cli import main
from pinxit.evaluation import feature_space as features
from pinxit.models import get_family
from pinxit.runs import Run
from tests.builders import blobs


def make_run(path: Path, source: Path, **options) -> Path:
    """A run folder as training leaves it, with weights that were hardly trained."""
    images = pinxit.load_images(source, progress=False)
    vae = get_family("vae")
    torch.manual_seed(0)
    config = vae.Config(latent_dim=4, network="mlp", width=16, depth=1, **options)
    info = images.info(images.split_indices("train"))
    model = vae.build(config, info)
    run = Run(path)
    run.write("model.safetensors", save(model.state_dict()))
    run.write(
        "config.json",
        {
            "format": 1,
            "family": "vae",
            "model": dataclasses.asdict(model.config),
            "dataset_info": info.to_json(),
            "data": {"source": str(source), "fingerprint": images.fingerprint},
        },
    )
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A data file, two runs (one that sees labels) and some image files."""
    place = tmp_path_factory.mktemp("place")
    images = blobs(120)
    np.savez(
        place / "blobs.npz",
        images=images.pixels,
        labels=np.array(images.label_names)[images.labels],
        split=np.array(["train", "validation", "test"])[images.splits],
    )
    make_run(place / "run", place / "blobs.npz")
    make_run(place / "labelled", place / "blobs.npz", condition="label")
    for i, size in enumerate([(8, 8), (30, 20), (12, 16)]):
        random = np.random.default_rng(i)
        Image.fromarray(random.integers(0, 256, (*size, 3), np.uint8)).save(place / f"{i}.png")
    return place


@pytest.fixture
def at(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return place


def printed(capsys, *words) -> list[str]:
    assert main([str(word) for word in words]) == 0, capsys.readouterr().err
    return capsys.readouterr().out.splitlines()


def refused(capsys, *words) -> str:
    code = main([str(word) for word in words])
    told = capsys.readouterr().err
    assert code in (1, 2)
    assert told.startswith("pinxit: ")
    assert len(told.splitlines()) <= 2
    assert "should not happen" not in told
    return told


def test_sample_prints_the_path_of_what_it_made(at, capsys):
    path = Path(printed(capsys, "sample", at / "run")[-1])
    assert path == at / "run" / "sample-seed0-n64.png"
    first = path.read_bytes()
    printed(capsys, "sample", at / "run")
    assert path.read_bytes() == first
    other = Path(printed(capsys, "sample", at / "run", "--seed", 1, "--temperature", 0.5)[-1])
    assert other.name == "sample-seed1-n64-t0.5.png"
    assert other.read_bytes() != first


def test_sampled_pixels_do_not_depend_on_how_many(at, capsys):
    for n in (3, 10):
        printed(capsys, "sample", at / "run", "-n", n, "-o", f"deep/{n}.npy")
    assert np.array_equal(np.load("deep/3.npy"), np.load("deep/10.npy")[:3])


def test_sample_a_label(at, capsys):
    path = printed(capsys, "sample", at / "labelled", "-n", 4, "--label", "north-east")[-1]
    assert path.endswith("sample-seed0-n4-north-east.png")
    told = refused(capsys, "sample", at / "labelled", "--label", "north")
    assert "no label 'north'; there are: north-east" in told


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["-n", "0"], "at least 1"),
        (["--temperature", "-1"], "temperature must be 0 or more"),
        (["--label", "north-east"], "without labels"),
        (["-o", "x.jpg"], "ends in .png or .npy"),
        (["-o", "/proc/none/x.png"], "cannot be written"),
    ],
)
def test_sample_refuses(at, capsys, words, says):
    assert says in refused(capsys, "sample", at / "run", *words)


def test_no_run(at, capsys):
    assert "no run at nowhere" in refused(capsys, "sample", "nowhere")
    assert "has no config.json" in refused(capsys, "evaluate", ".")


def test_reconstruct_takes_the_test_split_or_any_images(at, capsys):
    out = printed(capsys, "reconstruct", at / "run")
    assert out[-1] == str(at / "run" / "reconstruct-test-n30.png")
    out = printed(capsys, "reconstruct", at / "run", at / "0.png", at / "1.png", at / "2.png")
    assert out[-1].endswith("reconstruct-3-files-n3.png")
    out = printed(capsys, "reconstruct", at / "run", at / "blobs.npz", "-n", 5, "--json")
    found = json.loads("\n".join(out))
    assert len(found["images"]) == 5
    assert found["psnr"] == pytest.approx(np.mean([p["psnr"] for p in found["images"]]))
    assert Path(found["path"]).is_file()
    assert "1 or more" in refused(capsys, "reconstruct", at / "run", "-n", 0)
    assert "none.png" in refused(capsys, "reconstruct", at / "run", at / "none.png")


def test_interpolate_between_images_and_seeds(at, capsys):
    run = at / "run"
    assert printed(capsys, "interpolate", run, at / "0.png", at / "1.png")[-1].endswith("0-1.png")
    assert printed(capsys, "interpolate", run, at / "0.png", at / "0.png")[-1].endswith("0-0.png")
    path = printed(capsys, "interpolate", run, "--seeds", 0, 1, "--steps", 6, "--gif")[-1]
    assert path == str(run / "interpolate-seeds-0-1.gif")
    assert Image.open(path).n_frames == 10
    path = printed(capsys, "interpolate", run, "--seeds", 0, 1, "--path", "linear")[-1]
    assert path.endswith("interpolate-seeds-0-1-linear.png")
    printed(capsys, "interpolate", run, "--seeds", 0, 1, "-o", "way.gif")
    assert Image.open("way.gif").format == "GIF"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "--seeds 0 1"),
        (["{}/0.png"], "not 1"),
        (["{}/0.png", "{}/1.png", "{}/2.png"], "not 3"),
        (["{}/0.png", "{}/1.png", "--seeds", "0", "1"], "two image files"),
        (["{}/0.png", "{}/none.png"], "no image file"),
        (["--seeds", "0", "1", "--steps", "1"], "2 or more"),
    ],
)
def test_interpolate_refuses(at, capsys, words, says):
    words = [word.format(at) for word in words]
    assert says in refused(capsys, "interpolate", at / "run", *words)


def test_traverse(at, capsys):
    path = printed(capsys, "traverse", at / "run", "--latents", 3)[-1]
    assert path.endswith("traverse-3.png")
    words = ["--latents", 2, "--image", at / "1.png", "--json"]
    found = json.loads("\n".join(printed(capsys, "traverse", at / "labelled", *words)))
    assert found["path"].endswith("traverse-2-1.png")
    assert len(found["latents"]) == 2
    assert found["latents"][0]["kl"] >= found["latents"][1]["kl"]
    assert "has 4 latents" in refused(capsys, "traverse", at / "run")  # 8 unless said


def test_embed(at, capsys):
    path = printed(capsys, "embed", at / "run")[-1]
    table = pq.read_table(path)
    assert table.num_rows == 120
    assert set(table["split"].to_pylist()) == {"train", "validation", "test"}
    found = json.loads("\n".join(printed(capsys, "embed", at / "run", at / "0.png", "--json")))
    assert (found["count"], found["dim"]) == (1, 4)
    model = pinxit.load(at / "run")
    images = pinxit.load_images(at / "blobs.npz")
    assert np.array_equal(np.array(table["vector"].to_pylist(), np.float32), model.embed(images))


def test_score_puts_the_most_unusual_first(at, capsys):
    path = Path(printed(capsys, "score", at / "run", "--samples", 4)[-1])
    assert path.name == "scores-test-k4.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    values = [float(row["log_likelihood"]) for row in rows]
    assert len(values) == 30
    assert values == sorted(values)
    assert path.with_suffix(".png").is_file()
    words = ["score", at / "run", at / "0.png", at / "1.png", "--json"]
    found = json.loads("\n".join(printed(capsys, *words)))
    assert len(found["scores"]) == 2
    assert "1 or more" in refused(capsys, "score", at / "run", "--samples", 0)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(features, "STEPS", 3)


def test_evaluate_prints_a_table_and_writes_the_same_figures(at, quick, capsys):
    out = printed(capsys, "evaluate", at / "run", "--iw-samples", 20)
    assert out[-1] == str(at / "run" / "evaluation.json")
    text = "\n".join(out)
    for part in ("log-likelihood", "active units", "PSNR", "of data", "not FID", "30 images"):
        assert part in text
    found = Run(at / "run").evaluation()
    figures, protocol = found["metrics"], found["protocol"]
    assert f"{figures['elbo']:,.2f}" in text
    assert figures["log_likelihood"] > figures["elbo"]
    assert protocol["split"] == "test"
    assert protocol["importance"] == {"samples": 20, "images": 30}
    assert {"date", "machine", "versions", "feature_space", "likelihood"} <= set(protocol)
    assert len(found["curves"]["kl_per_latent"]) == figures["latents"] == 4
    assert len(found["curves"]["frequencies"]) == len(found["curves"]["spectrum_samples"])


def test_evaluate_again_gives_the_same_figures(at, quick):
    options = {"iw_samples": 10, "likelihood_images": 5, "progress": False, "write": False}
    first, again = (pinxit.evaluate(at / "labelled", **options) for _ in range(2))
    assert first["metrics"] == again["metrics"]
    assert first["curves"] == again["curves"]
    assert first["protocol"]["importance"]["images"] == 5
    assert not (at / "labelled" / "evaluation.json").exists()


def test_evaluate_on_other_images_says_so_where_there_is_no_test_split(at, quick):
    images = dataclasses.replace(blobs(40, seed=7), splits=None)
    options = {"iw_samples": 0, "progress": False, "write": False}
    found = pinxit.evaluate(at / "run", images, **options)
    assert "no test split" in found["warnings"][0]
    assert found["protocol"]["split"] != "test"
    assert "log_likelihood" not in found["metrics"]
    assert "frechet_train_test" not in found["metrics"]


def test_evaluate_tells_that_the_data_has_changed(at, quick, tmp_path):
    config = json.loads((at / "run" / "config.json").read_text())
    config["data"]["fingerprint"] = "another"
    run = Run(tmp_path / "changed")
    run.write("model.safetensors", (at / "run" / "model.safetensors").read_bytes())
    run.write("config.json", config)
    found = pinxit.evaluate(run, iw_samples=0, distances=False, progress=False)
    assert any("has changed since" in warning for warning in found["warnings"])


def test_evaluate_without_distances_trains_no_feature_space(at, monkeypatch, capsys):
    monkeypatch.setattr(features, "get_feature_space", None)
    words = ["--no-distances", "--iw-samples", 0, "--json"]
    found = json.loads("\n".join(printed(capsys, "evaluate", at / "run", *words)))
    assert "frechet_samples" not in found["metrics"]
    assert "sharpness_samples" in found["metrics"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--iw-samples", "-1"], "0 or more"),
        (["--likelihood-images", "0"], "1 or more"),
        (["--max-images", "1"], "2 or more"),
        (["no-such-data"], "no-such-data"),
    ],
)
def test_evaluate_refuses(at, capsys, words, says):
    assert says in refused(capsys, "evaluate", at / "run", *words)


def test_fid_says_what_it_needs(at, quick, monkeypatch, capsys):
    import sys

    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    words = ["--fid", "--iw-samples", 0]
    assert "pip install 'pinxit[fid]'" in refused(capsys, "evaluate", at / "run", *words)


def test_fid_gives_torch_fidelity_what_it_takes(monkeypatch):
    import sys
    from types import SimpleNamespace
    from urllib.error import URLError

    from pinxit.errors import PinxitError
    from pinxit.evaluation.fid import fid

    inception = SimpleNamespace(URL_INCEPTION_V3="https://weights")

    def metrics(input1, input2, fid, cuda, verbose):
        assert input1[0].shape == (3, 8, 8)
        assert input1[0].dtype == torch.uint8
        assert inception.load_state_dict_from_url.keywords["weights_only"]
        return {"frechet_inception_distance": float(len(input1) + len(input2))}

    fake = SimpleNamespace(feature_extractor_inceptionv3=inception, calculate_metrics=metrics)
    monkeypatch.setitem(sys.modules, "torch_fidelity", fake)
    assert fid(blobs(3), blobs(4)) == 7

    def offline(**_):
        raise URLError("no network")

    fake.calculate_metrics = offline
    with pytest.raises(PinxitError, match="weights cannot be had"):
        fid(blobs(3), blobs(4))
