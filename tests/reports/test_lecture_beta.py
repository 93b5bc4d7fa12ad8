"""Beta as a slider: recorded runs of other beta in the report, and what is said without them."""

from __future__ import annotations

import json

import pytest

import pinxit
from pinxit.reports.context import load_context
from pinxit.reports.lecture.beta_curve import beta_curve
from pinxit.reports.page import build_sections, render_page
from pinxit.runs import Run
from pinxit.sampling.elbo import elbo_terms
from pinxit.training.trials import train_trial
from tests.builders import blobs, make_run
from tests.reports.html_page import HtmlPage

BETAS = {"curve-beta-0.1": {"beta": 0.1}, "curve-beta-1": {}, "curve-beta-10": {"beta": 10.0}}


@pytest.fixture(scope="module")
def run_and_images(tmp_path_factory):
    images = blobs()
    config = pinxit.VAE(network="mlp", latent_dim=4, width=16, depth=1)
    folder = tmp_path_factory.mktemp("beta") / "run"
    pinxit.train(config, images, out=folder, steps=5, batch_size=16, quiet=True)
    run = Run(folder)
    for name, changes in BETAS.items():
        train_trial(run, images, changes, 20, folder / "explain" / name)
    train_trial(run, images, {"free_bits": 0.1}, 4, folder / "explain" / "try-free-bits")
    # neither is of the curve: a remedy, and a run of another length
    train_trial(run, images, {}, 40, folder / "explain" / "try-longer")
    train_trial(run, images, {"beta": 3.0}, 40, folder / "explain" / "curve-beta-3")
    return run, images


def test_each_recorded_beta_is_a_frame_with_its_own_terms(run_and_images):
    run, images = run_and_images
    context = load_context(run, images)
    slide = beta_curve(context)
    assert slide is not None
    assert [frame.name for frame in slide.values["frames"]] == ["0.1", "1, this run", "1", "10"]
    measured = context.subset.evenly_spaced(200)
    for name, row in zip(("curve-beta-0.1", "curve-beta-10"), (0, 3), strict=True):
        terms = elbo_terms(Run(run.path / "explain" / name).load(), measured)
        text = slide.values["rows"][row]["rate"].split(" ±")[0].replace("−", "-")
        assert float(text) == pytest.approx(terms.rate.sum(1).mean(), rel=0.02, abs=0.01)
    images_of = [frame.content["samples"].uri for frame in slide.values["frames"]]
    assert images_of[0] != images_of[1] != images_of[3]
    assert slide.values["chart"]["svg"]


def test_the_slider_needs_no_script_and_is_well_formed(run_and_images, tmp_path):
    context = load_context(*run_and_images)
    (tmp_path / "x.html").write_text(render_page(context, build_sections(context)))
    page = HtmlPage(tmp_path / "x.html")
    assert page.markup_errors == []
    assert page.unclosed == []
    names = [a["name"] for a in page.attributes("input") if a["name"] == "beta-curve"]
    assert len(names) == 5  # play, and one of each run


def test_trials_of_other_weights_are_left_out(run_and_images):
    run, images = run_and_images
    file = run.path / "explain" / "curve-beta-10" / "trial.json"
    before = file.read_text()
    try:
        for text in ("{", "[]", json.dumps(json.loads(before) | {"weights": "other"})):
            file.write_text(text)
            slide = beta_curve(load_context(run, images))
            assert [frame.name for frame in slide.values["frames"]] == ["0.1", "1, this run", "1"]
    finally:
        file.write_text(before)


def test_a_trial_of_other_images_is_left_out_and_named(run_and_images):
    run, images = run_and_images
    file = run.path / "explain" / "curve-beta-10" / "config.json"
    before = file.read_text()
    record = json.loads(before)
    assert record["data"]["fingerprint"] == images.fingerprint
    record["data"]["fingerprint"] = "others"
    try:
        file.write_text(json.dumps(record))
        context = load_context(run, images)
        assert [f.name for f in beta_curve(context).values["frames"]] == ["0.1", "1, this run", "1"]
        (line,) = (line for line in context.missing if "curve over β" in line)
        assert line.endswith("curve-beta-10")
    finally:
        file.write_text(before)


def test_a_damaged_trial_is_named(run_and_images):
    run, images = run_and_images
    file = run.path / "explain" / "curve-beta-10" / "model.safetensors"
    before = file.read_bytes()
    try:
        file.write_bytes(b"damaged")
        context = load_context(run, images)
        assert len(beta_curve(context).values["frames"]) == 3
        assert any("curve over β" in line for line in context.missing)
    finally:
        file.write_bytes(before)


def test_without_recorded_runs_the_command_that_records_them_is_shown(tmp_path):
    images = blobs()
    run = make_run(tmp_path, images, steps=5)
    slide = beta_curve(load_context(run, images))
    assert slide.values["num_recorded"] == 0
    assert slide.values["chart"] is None
    assert slide.values["command"].endswith("--curve")
    assert [row["name"] for row in slide.values["rows"]] == ["1, this run"]
