"""No path, file name or user of this machine is in what is published."""

from __future__ import annotations

import dataclasses
import getpass
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinxit.hub.contents import public_config, public_evaluation
from pinxit.hub.privacy import Redactor, hub_dataset, last_part, public_source
from pinxit.runs import Run

WORDS = (
    st.text("abcdefgh ä-_.0", min_size=1, max_size=8)
    .map(str.strip)
    .filter(lambda word: word.strip(". -_"))
)
FOLDERS = st.lists(WORDS, min_size=1, max_size=3)


@st.composite
def paths(draw) -> tuple[str, list[str]]:
    """An absolute path, and its folders, which nobody should see."""
    folders = [f"hidden{i}{word}" for i, word in enumerate(draw(FOLDERS))]
    root = draw(st.sampled_from(["/", "~/", "C:\\", "\\\\", "../", "./"]))
    separator = "\\" if "\\" in root else "/"
    return root + separator.join([*folders, "last"]), folders


@dataclasses.dataclass(frozen=True)
class FakeRun(Run):
    """A run with a configuration and no files."""

    record: dict = dataclasses.field(default_factory=dict, hash=False)

    @property
    def config(self):
        return self.record  # type: ignore[return-value]


def make_run(source: str, **config) -> Run:
    return FakeRun(Path("/exports/of/anna/run"), {"data": {"source": source}, **config})


@given(path=paths())
def test_paths_lose_their_folders(path):
    text, folders = path
    redactor = Redactor(make_run("digits"))
    for redacted in (
        redactor.text(text),
        redactor.text(f"the images of {text} have changed"),
        redactor.text(f"pinxit train --resume {text} --minutes 3; then ({text})"),
        json.dumps(redactor.value({"a": [f"see {text}", {"b": text}]})),
        redactor.option(text),
        *redactor.option([text, {"x": text}])[1].values(),
    ):
        assert not [folder for folder in folders if folder in redacted], redacted
        assert "last" in redacted


@pytest.mark.parametrize(
    "text",
    [
        "PSNR 21.5 dB over 24 images, 3.2 bits/dim (I/O included)",
        "the samples were few; see https://pinxit.example/docs and 1/2 of them",
        "undertrained: trained for 30 steps (1.2 epochs) only",
        "AMD EPYC 7763 64-Core Processor",
    ],
)
def test_other_texts_stay_as_they_are(text):
    assert Redactor(make_run("digits")).text(text) == text


def test_a_source_is_published_by_its_name():
    assert public_source(make_run("/home/anna/cats")) == "cats"
    assert public_source(make_run("C:\\Users\\anna\\cats\\")) == "cats"
    assert public_source(make_run("shapes:8000")) == "shapes:8000"
    assert public_source(make_run("hf:ylecun/mnist:train")) == "hf:ylecun/mnist:train"
    assert hub_dataset(make_run("hf:ylecun/mnist:train")) == "ylecun/mnist"
    assert hub_dataset(make_run("/hf:x/y")) is None
    assert public_source(make_run("")) == "images"
    assert public_source(make_run("hf:../../home/x")) == "x"


def test_the_name_of_the_user_is_no_name_of_data(monkeypatch):
    assert last_part(str(Path.home())) == "images"
    monkeypatch.setattr(getpass, "getuser", lambda: "anna")
    assert last_part("/home/anna/") == "images"
    assert last_part("/home/Anna") == "images"
    assert last_part("/home/anna/cats") == "cats"


@given(path=paths(), key=st.sampled_from(["model", "training", "component", "versions"]))
def test_config_json_is_published_without_paths(path, key):
    text, folders = path
    run = make_run(
        text, family="vae", format=2, finished=True, command=f"pinxit train {text}",
        requested={"load": {"captions": text}}, note=text,
        **{key: {"option": text, "several": [text]}},
    )  # fmt: skip
    run.config["data"] |= {"files": [text], "options": {"captions": text}}
    shown = json.dumps(public_config(run, Redactor(run)), ensure_ascii=False)
    assert not [folder for folder in folders if folder in shown], shown


@given(path=paths())
def test_evaluation_json_is_published_without_paths(path):
    text, folders = path
    record = {
        "metrics": {"psnr": 1.0},
        "protocol": {"data": text, "feature_run": text, "machine": {"processor": "x"}},
        "warnings": [f"{text} has changed since training: its splits may differ"],
        "verdict": {"state": "good", "evidence": [text], "command": f"pinxit evaluate {text}"},
        "unknown": text,
    }
    run = make_run(text)
    public = public_evaluation(run, record, Redactor(run))  # type: ignore[arg-type]
    shown = json.dumps(public, ensure_ascii=False)
    assert not [folder for folder in folders if folder in shown], shown
    assert public["metrics"] == record["metrics"]


@given(path=paths(), before=st.binary(max_size=20))
def test_a_folder_of_this_machine_is_found_in_any_content(path, before):
    run = make_run(path[0])
    secret = Redactor(run).find_secret(before + b'{"x": "/exports/of/anna/run/y"}')
    assert secret == "/exports/of/anna/run"
    assert Redactor(run).find_secret(b'{"x": "cats/dogs"}') is None
