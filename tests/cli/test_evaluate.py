"""`pinxit evaluate`: the table that it prints, and evaluation.json."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from urllib.error import URLError

import pytest
import torch

import pinxit
from pinxit import console
from pinxit.errors import PinxitError
from pinxit.evaluation import evaluator, feature_space
from pinxit.evaluation.fid import fid_metrics
from pinxit.evaluation.frechet import fit_gaussian, frechet_distance
from pinxit.models import latent_densities
from pinxit.runs import Run
from tests.builders import blobs


@pytest.fixture
def short_training(monkeypatch):
    """Train feature spaces for 3 steps."""
    monkeypatch.setattr(feature_space, "STEPS", 3)


@pytest.mark.usefixtures("short_training")
def test_evaluate_prints_a_table_and_writes_the_same_metrics(folder, run_pinxit):
    lines = run_pinxit("evaluate", folder / "run", "--iw-samples", 20)
    assert lines[-1] == str(folder / "run" / "evaluation.json")
    text = "\n".join(lines)
    for part in (
        "log-likelihood",
        "active units",
        "PSNR",
        "of data",
        "not those of FID",
        "30 (samples)",
        "I(x; z): 30 images can show at most 3.40 nats",
    ):
        assert part in text
    record = Run(folder / "run").evaluation()
    metrics, protocol = record["metrics"], record["protocol"]
    assert console.format_number(metrics["elbo"]) in text
    assert metrics["log_likelihood"] > metrics["elbo"]
    assert protocol["split"] == "test"
    sampling = protocol["importance_sampling"]
    assert (sampling["samples_per_image"], sampling["images"]) == (20, 30)
    assert sampling["defensive_share"] == 0.1
    assert {"date", "machine", "versions", "feature_space", "likelihood"} <= set(protocol)
    assert len(record["curves"]["kl_per_latent"]) == record["facts"]["latents"] == 4
    assert len(record["curves"]["frequencies"]) == len(record["curves"]["spectrum_samples"])


@pytest.mark.usefixtures("short_training")
def test_evaluate_again_gives_the_same_metrics(folder):
    options = {"iw_samples": 10, "likelihood_images": 5, "quiet": True, "write": False}
    first, again = (pinxit.evaluate(folder / "labelled", **options) for _ in range(2))
    assert first["metrics"] == again["metrics"]
    assert first["curves"] == again["curves"]
    assert first["protocol"]["importance_sampling"]["images"] == 5
    assert not (folder / "labelled" / "evaluation.json").exists()


@pytest.mark.usefixtures("short_training")
def test_evaluate_on_images_without_a_test_split_warns(folder):
    images = dataclasses.replace(blobs(40, seed=7), splits=None)
    options = {"iw_samples": 0, "quiet": True, "write": False}
    record = pinxit.evaluate(folder / "run", images, **options)
    assert "no test split" in record["warnings"][0]
    assert record["protocol"]["split"] != "test"
    assert "log_likelihood" not in record["metrics"]
    assert "frechet_train_test" not in record["metrics"]


@pytest.mark.usefixtures("short_training")
def test_evaluate_warns_of_changed_data(folder, tmp_path):
    config = json.loads((folder / "run" / "config.json").read_text())
    config["data"]["fingerprint"] = "another"
    run = Run(tmp_path / "changed")
    run.write("model.safetensors", (folder / "run" / "model.safetensors").read_bytes())
    run.write("config.json", config)
    record = pinxit.evaluate(run, iw_samples=0, distances=False, quiet=True)
    assert any("has changed since" in warning for warning in record["warnings"])


def test_evaluate_says_where_samples_come_from(folder, tmp_path, run_pinxit, monkeypatch):
    monkeypatch.setattr(latent_densities, "COMPONENTS", (1,))
    run = Path(shutil.copytree(folder / "run", tmp_path / "run"))
    words = ("evaluate", run, "--iw-samples", 0, "--no-distances", "--quiet")
    lines = run_pinxit(*words, "--prior", "mixture")
    assert lines[-1] == str(run / "evaluation-mixture.json")
    where = "samples: z of a mixture of Gaussians, fitted afterwards; likelihoods: its own prior"
    assert where in lines
    assert where not in run_pinxit(*words)


def test_evaluate_without_distances_trains_no_feature_space(folder, monkeypatch, run_pinxit):
    monkeypatch.setattr(evaluator, "get_feature_space", None)
    words = ["--no-distances", "--iw-samples", 0, "--json"]
    record = json.loads("\n".join(run_pinxit("evaluate", folder / "run", *words)))
    assert "frechet_samples" not in record["metrics"]
    assert "sharpness_samples" in record["metrics"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--iw-samples", "-1"], "0 or more"),
        (["--likelihood-images", "0"], "1 or more"),
        (["--max-images", "1"], "2 or more"),
        (["no-such-data"], "no-such-data"),
    ],
)
def test_evaluate_refuses_invalid_options(folder, fail, words, text):
    assert text in fail("evaluate", folder / "run", *words)


@pytest.mark.usefixtures("short_training")
def test_fid_without_its_package_says_how_to_install_it(folder, monkeypatch, fail):
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    words = ["--fid", "--iw-samples", 0]
    assert "pip install 'pinxit[fid]'" in fail("evaluate", folder / "run", *words)


def test_fid_passes_uint8_images_to_torch_fidelity(monkeypatch):
    inception = SimpleNamespace(URL_INCEPTION_V3="https://weights")

    class Extractor(torch.nn.Module):
        def __init__(self, name, features):
            super().__init__()
            assert (name, features) == ("inception-v3-compat", ["2048"])
            assert inception.load_state_dict_from_url.keywords["weights_only"]

        def forward(self, x):
            assert x.shape[1:] == (3, 8, 8)
            assert x.dtype == torch.uint8
            return (x[:, 0].flatten(1)[:, ::9].double(),)

    inception.FeatureExtractorInceptionV3 = Extractor
    fake = SimpleNamespace(feature_extractor_inceptionv3=inception)
    monkeypatch.setitem(sys.modules, "torch_fidelity", fake)
    samples, test = blobs(70, seed=1), blobs(80)
    metrics = dict(fid_metrics(samples, test, train=test))
    features = (images.pixels.reshape(len(images), -1)[:, ::9] for images in (samples, test))
    expected = frechet_distance(*map(fit_gaussian, features))
    assert metrics["fid_samples"].value == pytest.approx(expected)
    assert metrics["fid_samples"].error > 0
    assert metrics["fid_train_test"].value == pytest.approx(0, abs=1e-6)

    def offline(name, features):
        raise URLError("no network")

    inception.FeatureExtractorInceptionV3 = offline
    with pytest.raises(PinxitError, match="cannot download the Inception weights"):
        list(fid_metrics(samples, test))
