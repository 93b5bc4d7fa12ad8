"""The model card holds whatever a run holds, and stays one: front matter, tables, no markup."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pinxit.hub.card import CardOptions, escape, write_card
from pinxit.hub.names import HubName
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
        "protocol": {"split": "test", "images": 24},
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
