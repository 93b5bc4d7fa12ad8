"""The page: well formed, self-contained, and with the sections that the run supports."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest

from pinxit.cli import main
from pinxit.cli.options import read_options
from pinxit.data.images import SkippedFile
from pinxit.data.load import load_images
from pinxit.errors import PinxitError, UsageError
from pinxit.evaluation.metrics import get_metric
from pinxit.models import vae
from pinxit.reports import page as page_module
from pinxit.reports import report
from pinxit.reports.summary import KEY_METRICS, TITLES
from pinxit.reports.templating import mark_file_name
from pinxit.runs import Run
from tests.builders import blobs, constant, evaluate, make_run, without_labels
from tests.reports.html_page import HtmlPage

pytestmark = pytest.mark.slow

VAE_SECTIONS = ["samples", "reconstructions", "why_blurry", "spectrum", "traversals", "latent_map"]
VAE_SECTIONS += [
    "kl_per_latent",
    "lecture",
    "outliers",
    "evaluation",
    "training_curves",
    "reproduce",
]
WITHOUT_EVALUATION = [name for name in VAE_SECTIONS if name != "evaluation"]


@pytest.fixture(scope="module")
def run_and_images(tmp_path_factory):
    """An evaluated run on grey images with labels, and its images."""
    images = blobs()
    run = make_run(tmp_path_factory.mktemp("runs") / "blobs-vae", images)
    evaluate(run)
    return run, images


@pytest.fixture(scope="module")
def path(run_and_images, tmp_path_factory) -> Path:
    run, images = run_and_images
    return report(run, tmp_path_factory.mktemp("page") / "report.html", images=images)


@pytest.fixture(scope="module")
def page(path) -> HtmlPage:
    return HtmlPage(path)


@pytest.fixture
def bare_run(run_and_images, tmp_path) -> Run:
    """A copy of the run's config.json and weights only; its data is gone."""
    source = run_and_images[0]
    config = json.loads((source.path / "config.json").read_text())
    config["data"]["source"] = str(tmp_path / "gone")
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").write_bytes(source.weights_path.read_bytes())
    return Run(tmp_path)


# -- the file --------------------------------------------------------------------------------------


def test_complete_run_has_all_sections_in_order(page):
    assert page.sections == VAE_SECTIONS


def test_each_section_has_a_template_of_its_name():
    folder = Path(page_module.__file__).parent / "templates" / "sections"
    templates = {file.name.removesuffix(".html.j2") for file in folder.glob("*.html.j2")}
    assert templates == {build.__name__ for build in page_module.SECTIONS}


def test_tags_are_nested_and_closed(page):
    assert page.markup_errors == []
    assert page.unclosed == []


def test_page_loads_nothing_from_elsewhere(page):
    for tag, attributes in page.elements:
        for name in ("src", "href", "srcset", "data", "poster"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:", "#")), (tag, value)
    assert not re.search(r"url\(|@import|https?://", page.html)
    assert not page.attributes("script")


def test_every_image_has_alternative_text_and_size(page):
    assert len(page.attributes("img")) > 30
    for attributes in page.attributes("img"):
        assert attributes["alt"]
        assert int(attributes["width"] or 0) > 0
    for attributes in page.attributes("svg"):
        # charts have a label; the clipping element inside a chart needs none
        assert attributes.get("aria-label") or "x" in attributes


def test_anchors_are_unique_and_resolve(page):
    ids = [attributes["id"] for _, attributes in page.elements if attributes.get("id")]
    assert len(ids) == len(set(ids))
    targets = [str(attributes["href"]).removeprefix("#") for attributes in page.attributes("a")]
    assert targets
    assert set(targets) <= set(ids)


def test_heading_levels_are_not_skipped(page):
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))


def test_page_has_no_missing_numbers(page):
    text = re.sub("condition none|binarize none|none of them", "", page.text).lower()
    for wrong in ("nan", "none", "inf", "undefined"):
        found = re.search(rf".{{0,40}}\b{wrong}\b", text)
        assert not found, found
    for attributes in page.attributes("path"):
        assert re.fullmatch(r"[MLHVahvz0-9. -]+", str(attributes["d"]))


def test_page_of_small_images_is_small_and_lists_nothing_as_missing(path, page):
    assert path.stat().st_size < 1_000_000
    assert "Missing from this report" not in page.text


def test_same_run_gives_the_same_page(run_and_images, tmp_path):
    run, images = run_and_images
    paths = [report(run, tmp_path / name, images=images) for name in ("a.html", "b.html")]
    one, two = (_without_times(path.read_text()) for path in paths)
    assert one == two


def _without_times(html: str) -> str:
    """Drop what is different each time: the date, and elements with times that were measured."""
    html = re.sub(r'class="kicker">[^<]*<', "<", html)
    return re.sub(r"<(span|figure)([^>]*) data-timed>.*?</\1>", "", html, flags=re.DOTALL)


def test_markup_in_names_is_escaped(tmp_path):
    images = blobs()
    names = [f'<b onload="x">{name}</b>&' for name in images.names]
    marked_up = type(images)(
        images.pixels,
        names=names,
        labels=images.labels,
        label_names=("<i>", "a & b", '"', "'"),
        splits=images.splits,
        source="<script>alert(1)</script>",
    )
    page = HtmlPage(report(make_run(tmp_path, marked_up, steps=5), images=marked_up))
    assert page.markup_errors == []
    assert not page.attributes("script")
    assert not page.attributes("b")
    assert "a & b" in page.text


# -- what it says ----------------------------------------------------------------------------------


def test_page_shows_metrics_protocol_warnings_and_command(page):
    for text in ("−99.5", "± 0.25", "21.5", "the samples were few", "images 24"):
        assert text in page.text, text
    assert "pinxit train vae blobs --steps 30" in page.text
    assert "trained on 48 images of blobs (8 × 8 pixels, grey, 4 labels) in 3 s" in page.text


def test_key_metrics_are_metrics_of_the_evaluation():
    names = [name for row in KEY_METRICS for name in row]
    assert set(names) | set(TITLES) == set(names)
    for name in names:
        assert get_metric(name).title, name


def test_headings_use_the_terms_of_the_field(page):
    for title in ("Samples", "KL per latent", "Outliers (lowest likelihood)", "Evaluation"):
        assert title in page.text, title
    for title in ("Training curves", "Reproduce this run", "Warnings", "Why is it blurry?"):
        assert title in page.text, title


def test_kl_formula_is_shown_for_a_standard_normal_prior_only(page, tmp_path):
    assert "½ Σ (exp(s) − (1 + s) + μ²)" in page.text
    assert "The prior is learned" not in page.text
    images = blobs()
    flow = make_run(tmp_path, images, steps=5, prior="flow")
    text = HtmlPage(report(flow, images=images)).text
    assert "½ Σ" not in text
    assert "The prior is learned" in text


def test_score_is_called_a_lower_bound_if_the_model_has_an_elbo(page):
    assert "lowest ELBO, a lower bound of log p(x)" in page.text


def test_undertrained_run_is_warned_of_at_the_top_and_not_praised(tmp_path):
    images = blobs()
    run = make_run(tmp_path, images, steps=2)
    evaluate(run)
    page = HtmlPage(report(run, images=images))
    assert page.markup_errors == []
    head, _, rest = page.text.partition("Why is it blurry?")
    warning = "trained for 2 steps (2.0 epochs) only; train longer"
    assert head.index("Verdict: undertrained") < head.index("Warnings") < head.index(warning)
    assert head.index(warning) < head.index("active units")
    assert head.count("not reliable, see the warnings") == 2  # sharpness, active units
    assert "noise counts as sharp" in rest
    changes = rest[rest.index("What may help") :]
    assert "Train longer before you change anything else" in changes
    assert changes.index("--minutes") < changes.index("--latent-dim")


def test_sound_run_has_no_warnings_at_the_top(tmp_path):
    images = blobs()
    run = make_run(tmp_path, images, steps=200)
    evaluate(run)
    page = HtmlPage(report(run, images=images))
    head, _, _ = page.text.partition("Why is it blurry?")
    assert "Warnings" not in head
    assert "not reliable" not in page.text
    assert "Train longer before" not in page.text


def test_skipped_files_are_counted_with_their_reasons(run_and_images, tmp_path):
    run, images = run_and_images
    skipped = (
        SkippedFile("a.png", "truncated"),
        SkippedFile("b.jpg", "truncated"),
        SkippedFile("line 3", "no such image", kind="record"),
    )
    images = dataclasses.replace(images, skipped=skipped)
    page = HtmlPage(report(run, tmp_path / "x.html", images=images))
    first = page.text.partition("Why is it blurry?")[0]
    assert "blobs: 2 files not read: a.png, b.jpg (truncated)" in first
    assert "blobs: 1 record not used: line 3 (no such image)" in first


def test_settings_are_written_as_options_of_the_command_line(page):
    settings = page.text[page.text.rindex("The command that trained this run") :]
    flags = {flag for option in read_options(vae.Config) for flag in option.flags}
    written = re.findall(r"(?<!\S)--[a-z][\w-]*", settings)
    assert {"--latent-dim", "--batch-size"} <= set(written)
    assert "latent dim" not in settings
    model = settings[settings.index("Model") : settings.index("Training", settings.index("Model"))]
    assert set(re.findall(r"--[a-z][\w-]*", model)) <= flags


def test_file_names_break_before_the_extension_only():
    html = mark_file_name("holiday_2019-Lanzarote<.jpeg")
    assert '<wbr><span class="nowrap">.jpeg</span></span>' in html
    assert "Lanzarote&lt;" in html
    assert 'title="holiday_2019-Lanzarote&lt;.jpeg"' in html


# -- incomplete runs -------------------------------------------------------------------------------


def test_run_without_data_shows_samples_and_says_what_is_missing(bare_run):
    page = HtmlPage(report(bare_run))
    assert page.sections == ["samples", "lecture", "reproduce"]
    assert "could not be opened" in page.text
    assert "pinxit evaluate" in page.text


def test_run_without_weights_shows_training_curves(run_and_images, tmp_path):
    run, images = run_and_images
    for name in ("config.json", "metrics.csv"):
        (tmp_path / name).write_bytes((run.path / name).read_bytes())
    page = HtmlPage(report(tmp_path, images=images))
    assert page.sections == ["training_curves", "reproduce"]
    assert "No weights" in page.text


def test_run_trained_from_python_shows_the_closest_command(bare_run):
    config = json.loads((bare_run.path / "config.json").read_text())
    (bare_run.path / "config.json").write_text(json.dumps(config | {"command": None}))
    text = HtmlPage(report(bare_run.path)).text
    assert "trained from Python" in text
    assert "pinxit train vae" in text


def test_report_measures_itself_without_labels_or_evaluation(tmp_path):
    images = without_labels(blobs())
    run = make_run(tmp_path, images)
    page = HtmlPage(report(run, images=images))
    assert page.sections == WITHOUT_EVALUATION
    assert "Colors are labels" not in page.text
    assert "4 labels)" not in page.text
    assert "In the upper half of frequencies reconstructions have" in page.text


@pytest.mark.parametrize("likelihood", ["gaussian", "discretized-logistic", "bernoulli"])
def test_label_conditional_color_model_with_flow_prior(tmp_path, likelihood):
    images = blobs(height=9, width=12, channels=3)
    options = {"likelihood": likelihood, "condition": "label", "prior": "flow"}
    run = make_run(tmp_path, images, steps=10, **options)
    evaluate(run)
    page = HtmlPage(report(run, images=images))
    assert page.sections == VAE_SECTIONS
    assert "By label" in page.text
    assert "north-west" in page.text
    assert "trained with them" in page.text
    assert ("σ of p(x|z), learned" in page.text) == (likelihood == "gaussian")
    assert ("probability that a pixel is white" in page.text) == (likelihood == "bernoulli")


def test_images_without_variance(tmp_path):
    images = constant(blobs())
    page = HtmlPage(report(make_run(tmp_path, images, steps=5), images=images))
    assert not re.search(r"\bnan\b", page.html.lower())
    assert page.markup_errors == []


def test_two_images_are_enough(tmp_path):
    images = blobs(n=8)
    run = make_run(tmp_path, images, steps=5)
    two = images.take(np.array([0, 1]))
    assert "samples" in HtmlPage(report(run, images=two)).sections


# -- the function and the command ------------------------------------------------------------------


def test_command_loads_the_data_and_prints_the_path(tmp_path, capsys):
    images = load_images("digits", progress=False)
    run = make_run(tmp_path / "digits-vae", images, steps=5)
    assert main(["report", str(run.path)]) == 0
    path = Path(capsys.readouterr().out.splitlines()[-1])
    assert path == run.path / "report.html"
    assert HtmlPage(path).sections == WITHOUT_EVALUATION


def test_report_raises_for_missing_runs_folders_and_packages(run_and_images, tmp_path, monkeypatch):
    run = run_and_images[0]
    with pytest.raises(UsageError, match="no such folder"):
        report(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="is a folder"):
        report(run, tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(PinxitError, match=r"pinxit\[umap\]"):
        report(run, umap=True)
    assert not (tmp_path / "report.html").exists()


def test_report_does_not_change_the_run(run_and_images, tmp_path):
    run, images = run_and_images
    before = {p: p.read_bytes() for p in run.path.rglob("*") if p.is_file()}
    report(Run(run.path), tmp_path / "x.html", images=images)
    assert before == {p: p.read_bytes() for p in run.path.rglob("*") if p.is_file()}
