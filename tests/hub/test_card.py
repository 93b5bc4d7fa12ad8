"""The model card holds whatever a run holds, and stays one: front matter, tables, no markup."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pinxit.evaluation.metrics import METRICS
from pinxit.hub.card import DIAGNOSTICS, CardOptions, code, escape, full_title, write_card
from pinxit.hub.contents import public_evaluation
from pinxit.hub.names import HubName
from pinxit.hub.privacy import Redactor, public_name
from pinxit.runs import Run

pytest.importorskip("huggingface_hub", reason="the extra hub is not installed")
TEXTS = st.text(max_size=20) | st.sampled_from(["a|b", "---", "<script>", "![x](y)", "# x", "\n\n"])
INFO = {"num_images": 3, "height": 8, "width": 8, "channels": 1}


@dataclasses.dataclass(frozen=True)
class FakeRun(Run):
    """A run with a configuration and no files."""

    record: dict = dataclasses.field(default_factory=dict, hash=False)

    @property
    def config(self):
        return self.record  # type: ignore[return-value]


@settings(deadline=None)  # the first example imports huggingface_hub
@given(text=TEXTS, value=st.floats(allow_nan=True, allow_infinity=True))
def test_texts_of_a_run_are_no_markup_of_its_card(text, value):
    config = {"family": "vae", "dataset_info": INFO, "model": {"option": text}, "training": {}}
    config |= {"data": {"source": text}, "trained": {"best_validation_loss": 1.0, "unit": text}}
    evaluation = {
        "metrics": {"psnr": value, "psnr_error": 0.5, "elbo": -3.0, "unknown": 2.0},
        "protocol": {"split": "test", "test_images": 24},
        "warnings": [text],
        "verdict": {"state": text},
    }
    run = FakeRun(Path("run"), config)
    card = write_card(run, HubName("me/x"), ("sample",), evaluation, CardOptions("mit"))
    front = re.match(r"---\n(.*?)\n---\n", card, re.DOTALL)
    assert front
    record = yaml.safe_load(front[1])
    assert record["library_name"] == "pinxit"
    assert record["license"] == "mit"
    body = card[front.end() :]
    assert [line for line in body.splitlines() if line.startswith("#")] == [
        *("# x", "## Use", "## Evaluation", "## Settings", "## Limits"),
    ]
    tables = [line for line in body.splitlines() if line.startswith("|")]
    columns = [len(re.findall(r"(?<!\\)\|", line)) - 1 for line in tables]
    first = next(i for i, line in enumerate(tables) if line.startswith("| setting"))
    assert set(columns[:first]) == {5}
    assert set(columns[first:]) == {2}


@given(text=TEXTS)
def test_an_escaped_text_is_one_line(text):
    assert len(escape(text).splitlines()) <= 1
    assert not re.search(r"(?<!\\)[|<>\[\]`#*_]", escape(text).replace("\\\\", ""))


SOURCES = st.sampled_from(
    ["mnist", "shapes:800", "hf:me/cats", "hf:me/dogs:train", "/home/anna/faces", "a/b", "x.npz"]
)


def make_card(config: dict, record: dict) -> tuple[dict, str, dict]:
    """The front matter of a card and its text, and the published evaluation."""
    common = {"family": "vae", "dataset_info": INFO, "model": {}, "training": {}}
    run = FakeRun(Path("run"), common | config)
    public = public_evaluation(run, record, Redactor(run))  # type: ignore[arg-type]
    card = write_card(run, HubName("me/x"), ("sample",), public, CardOptions())
    front = re.match(r"---\n(.*?)\n---\n", card, re.DOTALL)
    assert front
    return yaml.safe_load(front[1]), card[front.end() :], public


@settings(deadline=None)
@given(own=SOURCES, measured=SOURCES, is_same=st.booleans())
def test_figures_stand_beside_the_data_that_they_were_measured_on(own, measured, is_same):
    measured = own if is_same else measured
    fingerprints = ("12", "12" if own == measured else "34")
    config = {"data": {"source": own, "fingerprint": fingerprints[0]}}
    protocol = {"data": measured, "fingerprint": fingerprints[1], "split": "test"}
    front, text, public = make_card(config, {"metrics": {"psnr": 20.0}, "protocol": protocol})
    (result,) = front["model-index"][0]["results"]
    assert result["dataset"]["name"] == public["protocol"]["data"] == public_name(measured)
    assert result["dataset"]["type"] in (public_name(measured), "me/cats", "me/dogs")
    sentence = f"Measured on other data: `{code(public_name(measured))}`."
    assert (sentence in text) == (own != measured)


def test_an_evaluation_that_names_no_data_is_of_the_data_of_training():
    config = {"data": {"source": "/home/anna/faces", "fingerprint": "12"}}
    record = {"metrics": {"psnr": 20.0}, "protocol": {"split": "test"}}
    front, text, _ = make_card(config, record)
    assert front["model-index"][0]["results"][0]["dataset"]["name"] == "faces"
    assert "other data" not in text


def test_metrics_of_a_card_have_names_of_their_own_and_results_a_direction():
    front, text, _ = make_card({}, {"metrics": dict.fromkeys(METRICS, 1.0), "protocol": {}})
    titles = [full_title(name) for name in METRICS]
    assert len(set(titles)) == len(titles)
    (result,) = front["model-index"][0]["results"]
    expected = {name for name, metric in METRICS.items() if metric.better} - set(DIAGNOSTICS)
    assert {metric["type"] for metric in result["metrics"]} == expected
    assert all(f"| {escape(title)} | " in text for title in titles)
