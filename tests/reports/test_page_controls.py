"""The controls of a page: unique ids, and a group of radio buttons for each row of frames."""

from __future__ import annotations

import base64
import io
import json
from collections import Counter, defaultdict

import pytest
from PIL import Image

import pinxit
from pinxit.reports import report
from pinxit.reports.lecture.exchange_record import KEYS, RECORD
from pinxit.runs import Run
from pinxit.training.trials import hash_file
from tests.builders import blobs, evaluate, shorten_explanations
from tests.reports.html_page import HtmlPage

pytestmark = pytest.mark.slow


class Controls(HtmlPage):
    """A page that notes the fieldset of each radio button and of each label that names one."""

    def __init__(self, path):
        self._fieldset, self.num_fieldsets = 0, 0  # 0: outside
        self.groups: dict[str, set[int]] = defaultdict(set)
        self.checked: Counter[str] = Counter()
        self.radios: dict[str, int] = {}
        self.labels: list[tuple[str, int]] = []
        super().__init__(path)

    def handle_starttag(self, tag, attrs):
        fields = dict(attrs)
        if tag == "fieldset":
            self.num_fieldsets += 1
            self._fieldset = self.num_fieldsets
        if tag == "input" and fields.get("type") == "radio":
            self.groups[fields["name"]].add(self._fieldset)
            self.checked[fields["name"]] += "checked" in fields
            self.radios[fields["id"]] = self._fieldset
        if tag == "label" and "for" in fields:
            self.labels.append((fields["for"], self._fieldset))
        super().handle_starttag(tag, attrs)

    def handle_endtag(self, tag):
        if tag == "fieldset":
            self._fieldset = 0
        super().handle_endtag(tag)


def check_controls(page: Controls) -> None:
    ids = Counter(fields["id"] for _, fields in page.elements if fields.get("id"))
    assert [name for name, count in ids.items() if count > 1] == []
    for name, fieldsets in page.groups.items():
        assert len(fieldsets) == 1, f"{name} is in several fieldsets"
        assert fieldsets != {0}, f"{name} is in no fieldset"
        assert page.checked[name] == 1, name
    assert len(page.groups) == page.num_fieldsets
    assert len(page.labels) == len(page.radios)
    for target, fieldset in page.labels:
        assert page.radios.get(target) == fieldset, target


def save_exchange(run: Run) -> None:
    """Write the record of an exchange: two turns, with an image of one pixel each."""
    content = io.BytesIO()
    Image.new("L", (1, 1)).save(content, "PNG")
    image = base64.b64encode(content.getvalue()).decode()
    turn = {**dict.fromkeys(KEYS, "a text"), "image": image, "seconds": 0.1}
    record = {"weights": hash_file(run.weights_path), "turns": [turn, turn]}
    (run.path / RECORD).write_text(json.dumps(record))


@pytest.fixture
def _short_trials(monkeypatch):
    shorten_explanations(monkeypatch, MIN_ROWS=100)
    monkeypatch.setattr("pinxit.training.trials.MIN_STEPS", 3)
    monkeypatch.setattr("pinxit.evaluation.trials.BETA_FACTORS", (0.1, 1.0))
    monkeypatch.setattr("pinxit.evaluation.trials.MAX_REMEDIES", 1)


@pytest.mark.usefixtures("_short_trials")
def test_controls_of_a_page_with_everything_optional_are_apart(tmp_path):
    pytest.importorskip("onnxruntime")
    images = blobs(240)
    config = pinxit.VAE(network="mlp", latent_dim=2, width=16, depth=1)
    pinxit.train(config, images, out=tmp_path, steps=10, batch_size=16, num_evals=2, quiet=True)
    run = Run(tmp_path)
    pinxit.explain(run, images, curve=True, try_remedies=True, trial_minutes=1e-6, progress=False)
    evaluate(run)
    save_exchange(run)
    page = Controls(report(run, images=images, live=True))
    optional = {"explanation", "beta_runs", "live_decoder", "evaluation", "lecture"}
    assert optional <= set(page.sections)
    assert {"beta-runs", "beta-curve", "clouds"} <= set(page.groups)
    assert "What a server of this run answered" in page.text
    check_controls(page)


def test_controls_of_several_languages_are_apart(tmp_path):
    small = {"width": 16, "heads": 2, "depth": 1, "decoder_depth": 1, "max_text_tokens": 24}
    config, images = pinxit.Seq2Seq(source="image", target="text", **small), blobs()
    pinxit.train(config, images, out=tmp_path, steps=3, batch_size=8, quiet=True)
    page = Controls(report(tmp_path, images=images))
    assert len(page.groups) == 2
    check_controls(page)
