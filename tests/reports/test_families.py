"""The pages of families that complete: each answers what a reader of that family asks."""

from __future__ import annotations

import re

import pytest

import pinxit
from pinxit.evaluation.runner import evaluate
from pinxit.models import get_family
from pinxit.reports import report
from pinxit.runs import Run
from tests.reports.test_report import Page


@pytest.fixture(scope="module", params=["mae", "igpt", "tokenizer"])
def run(request, tmp_path_factory) -> Run:
    out = tmp_path_factory.mktemp("runs") / request.param
    options = {} if request.param == "tokenizer" else {"width": 32, "depth": 2}
    config = get_family(request.param).Config(**options)
    made = pinxit.train(config, "digits", out=out, steps=30, batch_size=32, quiet=True)
    evaluate(made, likelihood_images=40, max_images=64, probe_train_size=200, progress=False)
    return made


@pytest.fixture(scope="module")
def page(run) -> Page:
    return Page(report(run))


WANTED = {
    "mae": ["completed", "generative", "judged", "trained", "repeated"],
    "igpt": [
        "painted",
        "completed",
        "sharp",
        "layered",
        "unusual",
        "judged",
        "trained",
        "repeated",
    ],
    "tokenizer": ["reconstructed", "judged", "trained", "repeated"],
}


def test_its_sections_are_there(run, page):
    assert [name for name in page.sections if name in WANTED[run.family]] == WANTED[run.family]


def test_it_is_well_formed_and_whole(page):
    assert page.wrong == []
    assert page.open == []
    assert "Not on this page" not in page.words
    assert not re.search(r"\\b(nan|undefined)\\b", page.words.lower())
    assert all(attrs["alt"] for attrs in page.of("img"))


def test_it_says_what_the_family_is_about(run, page):
    said = {
        "mae": ("Is this a generative image model?", "the seed has nothing to decide", "0 of 255"),
        "igpt": ("What its layers know", "upper half given", "exact, of 40 images"),
        "tokenizer": ("An image tokenizer", "PSNR"),
    }
    for text in said[run.family]:
        assert text in page.words, text
