"""The causes in a report are of the run's own images, and it says on which images they are."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

import pinxit
from pinxit.reports import report
from pinxit.runs import Run
from tests.builders import blobs, make_run, shorten_explanations
from tests.reports.html_page import HtmlPage

pytestmark = pytest.mark.slow
TRIAL = {
    "text": "longer training",
    "has_new_layers": False,
    "gain": 1.0,
    "gain_error": 0.1,
    "error": None,
    "command": "pinxit train vae blobs",
    "test": {},
}


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    shorten_explanations(monkeypatch, MIN_ROWS=100)


def select_images(has_validation: bool, **options):
    images = blobs(200, **options)
    splits = images.splits if has_validation else np.where(images.splits == 1, 0, images.splits)
    return dataclasses.replace(images, splits=splits)


def add_trial(run: Run) -> None:
    file = run.path / "explain.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"trials": [TRIAL]}))


@pytest.mark.parametrize("is_own", [True, False])
@pytest.mark.parametrize("has_validation", [True, False])
def test_a_report_has_the_causes_measured_on_its_own_images(tmp_path, has_validation, is_own):
    images = select_images(has_validation)
    run = make_run(tmp_path, images, steps=10)
    others = dataclasses.replace(
        select_images(has_validation, seed=5), source="others", fingerprint="others"
    )
    pinxit.explain(run, images if is_own else others, progress=False)
    if not is_own:  # as earlier versions wrote it
        (run.path / "explain-others.json").rename(run.path / "explain.json")
    add_trial(run)
    page = HtmlPage(report(run, images=images))
    assert page.markup_errors == []
    named = "explain.json is not of the images of the training, but of others."
    assert page.text.count(named) == (not is_own)
    assert ("explanation" in page.sections) == is_own
    if is_own:
        assert "50 images of the test split" in page.text
        assert ("The order is that on validation images" in page.text) == has_validation
        assert ("There are no validation images" in page.text) != has_validation


def test_a_record_without_a_fingerprint_is_shown(tmp_path):
    images = select_images(True)
    run = make_run(tmp_path, images, steps=10)
    record = pinxit.explain(run, images, progress=False)
    del record["protocol"]["fingerprint"]
    del record["protocol"]["has_validation"]
    run.write("explain.json", record)
    assert "explanation" in HtmlPage(report(run, images=images)).sections
