"""One table over runs of all families: images from nothing and from words, likelihood, time."""

from __future__ import annotations

import math
import shutil

import numpy as np
import pytest

import pinxit
from pinxit.cli import main
from pinxit.errors import PinxitError, UsageError
from pinxit.reports.context import load_context
from pinxit.reports.goal import measure_goal
from pinxit.reports.lecture.goal import goal, list_other_families
from pinxit.runs import Run
from tests.builders import blobs, save_npz
from tests.reports.html_page import HtmlPage

SMALL = {"width": 16, "heads": 2, "depth": 1}
RUNS = {
    "vae": pinxit.VAE(network="mlp", latent_dim=2, width=16, depth=1, condition="label"),
    "masked": pinxit.IGPT(palette_size=4, objective="masked", **SMALL),
    "igpt": pinxit.IGPT(palette_size=4, **SMALL),
    "mae": pinxit.MAE(patch_size=2, **SMALL),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("goal")
    data = save_npz(folder / "blobs.npz", blobs())
    for name, config in RUNS.items():
        pinxit.train(config, data, out=folder / name, steps=3, batch_size=16, quiet=True)
    return folder


def test_a_row_has_what_the_run_generates_and_its_likelihood(folder):
    rows = {name: measure_goal(load_context(Run(folder / name))) for name in RUNS}
    assert rows["mae"].from_nothing is None
    assert rows["mae"].from_words is None
    assert rows["mae"].likelihood is None
    assert rows["igpt"].from_words is None
    assert rows["masked"].likelihood is None
    assert rows["vae"].from_words.given in blobs().label_names
    for name in ("vae", "igpt"):
        model = Run(folder / name).load()
        own = rows[name].from_nothing
        assert np.array_equal(own.images.pixels, model.sample(len(own.images), seed=0).pixels)
        assert own.seconds > 0
        assert rows[name].training_seconds > 0
    assert rows["igpt"].likelihood.kind == "exact"
    assert rows["vae"].likelihood.kind == "upper bound, given the label"


def test_likelihood_of_a_run_that_is_not_evaluated_is_that_of_its_images(folder):
    context = load_context(Run(folder / "igpt"))
    shown = measure_goal(context).likelihood
    nats = -context.model.score(context.subset.evenly_spaced(48)).mean()
    dims = context.run.info.dims * math.log(2)
    assert shown.value == pytest.approx(nats / (dims if "bits" in shown.unit else 1), rel=1e-4)


def test_the_likelihood_of_an_evaluation_comes_first(folder, tmp_path):
    run = Run(shutil.copytree(folder / "vae", tmp_path / "vae"))
    metrics = {"elbo": -9.0, "log_likelihood": -7.5, "log_likelihood_error": 0.25}
    run.write("evaluation.json", {"metrics": metrics, "protocol": {"split": "test"}})
    shown = measure_goal(load_context(Run(run.path))).likelihood
    assert (shown.value, shown.error, shown.unit) == (7.5, 0.25, "nats per image")
    assert shown.kind == "estimate by importance sampling"
    run.write("evaluation.json", {"metrics": metrics | {"elbo_bits_per_dim": 2.5}})
    assert measure_goal(load_context(Run(run.path))).likelihood.value == 7.5  # the tighter one


def test_the_page_has_a_row_of_each_run_and_is_well_formed(folder, tmp_path, capsys):
    path = tmp_path / "families.html"
    assert main(["compare", *(str(folder / name) for name in RUNS), "--page", str(path)]) == 0
    assert capsys.readouterr().out.strip() == str(path)
    page = HtmlPage(path)
    assert page.markup_errors == []
    assert page.unclosed == []
    assert sum(a.get("scope") == "row" for a in page.attributes("th")) == len(RUNS)
    assert len(page.attributes("img")) == 4  # vae and both igpt from nothing, vae from a label
    assert "do not compare" not in page.text


def test_wrong_calls_of_the_page_are_errors(folder, tmp_path):
    runs = [str(folder / "vae"), str(folder / "igpt")]
    for words in (["--page", "x.txt"], ["--page", "x.html", "--out", "x.svg"],
                  ["--page", "x.html", "--split", "all"]):  # fmt: skip
        assert main(["compare", *runs, *words]) == 2
    assert main(["compare", runs[0], "--page", "x.html"]) == 2
    with pytest.raises(UsageError):
        pinxit.compare(*runs, metric="elbo", against="beta", page=tmp_path / "x.html")
    with pytest.raises(PinxitError, match="run"):
        pinxit.compare(runs[0], tmp_path, page=tmp_path / "x.html")
    assert not (tmp_path / "x.html").exists()


def test_the_slide_names_the_newest_run_of_each_other_family(folder):
    others = list_other_families(Run(folder / "vae"))
    assert [run.name for run in others] == ["igpt", "mae"]
    slide = goal(load_context(Run(folder / "vae")))
    assert slide.values["command"].startswith("pinxit compare ")
    assert slide.values["command"].endswith("/mae --page families.html")


def test_a_broken_folder_beside_a_run_is_left_out(folder, tmp_path):
    shutil.copytree(folder / "vae", tmp_path / "vae")
    for name, text in (("a", "{"), ("b", '{"family": "nothing"}'), ("c", "[]")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(text)
        (tmp_path / name / "model.safetensors").write_bytes(b"x")
    assert list_other_families(Run(tmp_path / "vae")) == []
