"""The page of each family has the sections and statements that apply to it."""

from __future__ import annotations

import re

import pytest

import pinxit
from pinxit.evaluation.runner import evaluate
from pinxit.models import get_family
from pinxit.reports import report
from pinxit.runs import Run
from tests.builders import blobs
from tests.reports.html_page import HtmlPage

pytestmark = pytest.mark.slow

SECTIONS = {
    "mae": ["inpainting", "is_generative", "evaluation", "training_curves", "reproduce"],
    "igpt": [
        "samples",
        "inpainting",
        "spectrum",
        "layer_probe",
        "outliers",
        "evaluation",
        "training_curves",
        "reproduce",
    ],
    "tokenizer": ["reconstructions", "evaluation", "training_curves", "reproduce"],
}
STATEMENTS = {
    "mae": (
        "MSE, 75 % masked",
        "Is this a generative image model?",
        "the seed has no effect",
        "0 of 255",
    ),
    "igpt": (
        "Linear probe by layer",
        "Lower half masked",
        "The images with the lowest log p(x) in nats, out of",
        "Map of the feature space",
    ),
    "tokenizer": ("Image tokenizer", "PSNR", "encoded and decoded"),
}


@pytest.fixture(scope="module", params=["mae", "igpt", "tokenizer"])
def run(request, tmp_path_factory) -> Run:
    out = tmp_path_factory.mktemp("runs") / request.param
    options = {} if request.param == "tokenizer" else {"width": 32, "depth": 2}
    config = get_family(request.param).Config(**options)
    run = pinxit.train(config, "digits", out=out, steps=30, batch_size=32, quiet=True)
    evaluate(run, likelihood_images=10, max_images=24, probe_train_size=60, progress=False)
    return run


@pytest.fixture(scope="module")
def page(run) -> HtmlPage:
    return HtmlPage(report(run))


def test_page_has_the_sections_of_the_family(run, page):
    expected = SECTIONS[run.family]
    assert [name for name in page.sections if name in expected] == expected


def test_page_is_well_formed_and_complete(page):
    assert page.markup_errors == []
    assert page.unclosed == []
    assert "Missing from this report" not in page.text
    assert not re.search(r"\b(nan|undefined)\b", page.text.lower())
    assert all(attributes["alt"] for attributes in page.attributes("img"))


def test_page_states_what_applies_to_the_family(run, page):
    for statement in STATEMENTS[run.family]:
        assert statement in page.text, statement


def test_only_latent_variable_models_have_a_latent_space(page):
    assert "latent space" not in page.text
    assert "p(z)" not in page.text


# -- text and images -------------------------------------------------------------------------------

TASKS = {
    "blobs-t2i": ("text", "image", "Text to image", "4 generated images each"),
    "blobs-i2t": ("image", "text", "Captioning", "by beam search"),
    "blobs-edit": ("image+text", "image", "Image editing", "at temperature 0"),
    "blobs-translate": ("text", "text", "Translation", "their translations"),
}


@pytest.mark.parametrize("name", TASKS)
def test_page_of_a_text_model_shows_its_task(tmp_path, name):
    source, target, title, statement = TASKS[name]
    small = {"width": 16, "heads": 2, "depth": 1, "decoder_depth": 1, "max_text_tokens": 24}
    if target == "image":
        small["palette_size"] = 4
    config = pinxit.Seq2Seq(source=source, target=target, **small)
    images = blobs()
    run = pinxit.train(config, images, out=tmp_path / name, steps=3, batch_size=8, quiet=True)
    page = HtmlPage(report(run, images=images))
    assert page.markup_errors == []
    assert "captions" in page.sections
    assert title in page.text
    assert statement in page.text
    assert page.text.count(f"({source} to {target}), trained on") == 1
    # scenes are checked by a reader; blobs are not scenes
    assert "scene reader" not in page.text
    assert ("attention" in page.sections) == (title in ("Text to image", "Captioning"))
