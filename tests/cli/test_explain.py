"""`pinxit explain` and `pinxit sample --prior`: what they print, write and refuse."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from tests.builders import shorten_explanations


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    shorten_explanations(monkeypatch, FLOW_STEPS=3, COMPONENTS=(1,), NUM_QUERIES=5)


@pytest.fixture
def run_folder(vae_folder, tmp_path) -> Path:
    return Path(shutil.copytree(vae_folder / "run", tmp_path / "run"))


def test_it_prints_numbered_causes_and_ends_with_the_page(run_folder, run_pinxit):
    lines = run_pinxit("explain", run_folder, "--quiet")
    assert lines[0].startswith("state: ")
    assert any(line.startswith("  1. ") for line in lines)
    assert Path(lines[-1]) == run_folder / "explain.html"
    assert Path(lines[-1]).is_file()
    record = json.loads((run_folder / "explain.json").read_text())
    printed = json.loads("\n".join(run_pinxit("explain", run_folder, "--quiet", "--json")))
    assert printed["metrics"] == record["metrics"]
    page = run_folder.parent / "other.html"
    assert run_pinxit("explain", run_folder, "--out", page)[-1] == str(page)
    assert page.is_file()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--trial-minutes", "0"], "--trial-minutes must be above 0"),
        (["--out", "x.png"], "ends in .html"),
        (["no-such-data"], "no-such-data"),
    ],
)
def test_it_refuses_invalid_options(vae_folder, fail, words, text):
    assert text in fail("explain", vae_folder / "run", *words)


def test_lost_data_are_named_with_the_command(run_folder, fail):
    config = json.loads((run_folder / "config.json").read_text())
    config["data"]["source"] = "gone.npz"
    (run_folder / "config.json").write_text(json.dumps(config))
    assert "pinxit explain" in fail("explain", run_folder)


@pytest.mark.parametrize("prior", ["mixture", "realnvp"])
def test_samples_of_a_fitted_prior_are_kept_and_repeatable(run_folder, run_pinxit, prior):
    words = ["sample", run_folder, "-n", 4, "--prior", prior]
    (path,) = run_pinxit(*words)
    assert prior in Path(path).name
    first = Image.open(path).tobytes()
    kept = run_folder / f"prior-{prior}.safetensors"
    before = kept.stat().st_mtime_ns
    (path,) = run_pinxit(*words)
    assert Image.open(path).tobytes() == first
    assert kept.stat().st_mtime_ns == before
    own = Image.open(run_pinxit("sample", run_folder, "-n", 4)[0]).tobytes()
    assert own != first
    kept.write_bytes(b"damaged")  # fitted again
    (path,) = run_pinxit(*words)
    assert Image.open(path).tobytes() == first


def test_a_long_fit_is_announced_once(run_folder, run_pinxit, monkeypatch):
    messages = []
    monkeypatch.setattr("pinxit.sampling.fitted_priors.LONG_FIT_IMAGES", 10)
    monkeypatch.setattr("pinxit.sampling.fitted_priors.echo", messages.append)
    (run_folder / "prior-mixture.safetensors").unlink(missing_ok=True)
    for _ in range(2):
        run_pinxit("sample", run_folder, "-n", 2, "--prior", "mixture")
    (message,) = messages
    assert message.startswith("fitting a mixture of Gaussians to the latents of")


def test_a_label_is_sampled_from_a_fitted_prior(vae_folder, tmp_path, run_pinxit, fail):
    run = Path(shutil.copytree(vae_folder / "labelled", tmp_path / "labelled"))
    run_pinxit("sample", run, "-n", 2, "--prior", "mixture", "--label", "north-west")
    assert "no label 'nowhere'" in fail("sample", run, "--prior", "mixture", "--label", "nowhere")
    assert "does not use --top-k" in fail("sample", run, "--prior", "mixture", "--top-k", 3)
