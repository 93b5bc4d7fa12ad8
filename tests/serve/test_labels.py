"""Labels that requests select: by name or number in a field of their own, or in a prompt."""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pinxit
from pinxit.data.batch import DatasetInfo
from pinxit.data.unicode_forms import normalize_label
from pinxit.serve.inference.loading import load_runs
from pinxit.serve.inference.registry import ModelRegistry
from pinxit.serve.inference.tasks import find_label
from pinxit.serve.mcp_server import create_mcp_server
from tests.builders import blobs
from tests.serve.server import serving
from tests.serve.test_mcp_server import call_tools

NAMES = ("001.Black_footed_Albatross", "St. Bernard", "A", "a")


@pytest.fixture(scope="module")
def label_run(tmp_path_factory):
    """A run that is conditional on labels whose names are not plain words."""
    folder = tmp_path_factory.mktemp("labels") / "labelled"
    images = dataclasses.replace(blobs(), label_names=NAMES)
    config = pinxit.VAE(network="mlp", latent_dim=4, width=16, depth=1, condition="label")
    pinxit.train(config, images, out=folder, steps=3, batch_size=8, quiet=True)
    return folder


def find(names, text):
    info = DatasetInfo(96, 8, 8, 1, label_names=tuple(names))
    return find_label(SimpleNamespace(info=info, label_conditional=True), info, text)


@given(st.lists(st.text(min_size=1), min_size=1, unique_by=normalize_label))
def test_every_label_is_found_by_its_name(names):
    assert [find(names, name) for name in names] == names


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("a St. Bernard", "St. Bernard"),
        ("Is this a cat?", "cat"),
        ("(dog)", "dog"),
        ("A DOG, please", "dog"),
        ("a concatenation", None),
        ("the category", None),
        ("cat or dogs", "cat"),
    ],
)
def test_a_label_in_a_prompt_is_a_whole_word(prompt, name):
    assert find(("cat", "dog", "St. Bernard"), prompt) == name


def test_a_label_in_the_case_of_the_prompt_comes_first():
    assert find(("A", "a"), "a") == "a"
    assert find(("A", "a"), "A") == "A"


def generate(url, label):
    fields = {"run": "labelled", "task": "sample", "label": label}
    return httpx.post(f"{url}/studio/data/generate", json=fields)


def last_event(answer):
    return json.loads(answer.text.strip().splitlines()[-1].removeprefix("data: "))


def test_the_studio_uses_the_label_that_was_chosen_or_refuses_it(label_run, tmp_path):
    with serving([label_run], tmp_path / "s.sqlite") as url:
        answers = {label: generate(url, label) for label in (*NAMES, "3", "nobody")}
    refused = answers.pop("nobody")
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "label"
    pngs = {label: last_event(answer)["images"][0]["png"] for label, answer in answers.items()}
    assert pngs["3"] == pngs["a"] != pngs["A"]


def test_the_tool_sample_uses_the_label_or_refuses_it(label_run):
    models = ModelRegistry(load_runs([label_run], "cpu", 64))
    try:
        calls = [("sample", {"label": label}) for label in (*NAMES, "nobody")]
        _, (*results, refused) = call_tools(create_mcp_server(models), *calls)
    finally:
        models.stop()
    texts = [result.content[-1].text for result in results]
    assert [name in text for name, text in zip(NAMES, texts, strict=True)] == [True] * 4
    assert refused.is_error
    assert "no label 'nobody'" in refused.content[0].text


def test_a_label_for_a_run_without_labels_is_refused(base_url):
    fields = {"run": "blobs-vae", "task": "sample", "label": "north-west"}
    answer = httpx.post(f"{base_url}/studio/data/generate", json=fields)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "label"
