"""The lecture's program: recorded against a server in the process, and shown by the report."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path

import pytest

import pinxit
from pinxit.reports.context import load_context
from pinxit.reports.lecture.exchange_record import FOLLOW_UP, RECORD, read_exchange, write_program
from pinxit.reports.lecture.program import PLACES, program
from pinxit.runs import Run
from pinxit.serve.exchange import record_exchange
from tests.builders import blobs
from tests.serve.server import make_client, serving

SMALL = {"width": 16, "heads": 2, "depth": 1, "decoder_depth": 1, "max_text_tokens": 24}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    config = pinxit.Seq2Seq(source="text", target="image", palette_size=4, **SMALL)
    folder = tmp_path_factory.mktemp("exchange") / "draw"
    pinxit.train(config, blobs(), out=folder, steps=3, batch_size=8, quiet=True)
    assert record_exchange(Run(folder))
    return Run(folder)


def test_both_turns_are_recorded_with_their_images(run):
    first, second = read_exchange(run)
    assert first["input"].startswith("Generate an image of a blob at")
    assert second["input"] == FOLLOW_UP
    for turn in (first, second):
        assert base64.b64decode(turn["image"]).startswith(b"\x89PNG")
        assert turn["seconds"] > 0
    assert "detective" in second["text"]  # the server says which words are unknown


def test_a_record_is_made_once_for_the_same_weights(run, tmp_path):
    before = (run.path / RECORD).read_bytes()
    assert record_exchange(run)
    assert (run.path / RECORD).read_bytes() == before
    copy = Run(shutil.copytree(run.path, tmp_path / "copy"))
    record = json.loads((copy.path / RECORD).read_text())
    copy.write(RECORD, record | {"weights": "other"})
    assert read_exchange(copy) is None
    assert record_exchange(copy)
    assert read_exchange(copy) is not None


def test_the_report_shows_program_and_turns_or_how_to_record_them(run, tmp_path):
    slide = program(load_context(run, blobs()))
    first = read_exchange(run)[0]["input"]
    assert slide.values["program"] == write_program(first)
    assert len(slide.values["turns"]) == 2
    copy = Run(shutil.copytree(run.path, tmp_path / "copy"))
    (copy.path / RECORD).unlink()
    slide = program(load_context(copy, blobs()))
    assert slide.values["turns"] == []
    assert slide.values["command"].startswith("pinxit report ")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"weights": 3}', '{"turns": [1, 2]}'])
def test_a_damaged_record_counts_as_none(run, tmp_path, text):
    copy = Run(shutil.copytree(run.path, tmp_path / "copy"))
    (copy.path / RECORD).write_text(text)
    assert read_exchange(copy) is None
    assert program(load_context(copy, blobs())).values["turns"] == []


@pytest.mark.parametrize("image", ["PHN2Zz4=", '"><script>', "", 5, None])
def test_an_image_that_is_no_png_is_not_shown(run, tmp_path, image):
    copy = Run(shutil.copytree(run.path, tmp_path / "copy"))
    record = json.loads((copy.path / RECORD).read_text())
    record["turns"][1]["image"] = image
    copy.write(RECORD, record)
    assert read_exchange(copy) is None


def test_the_program_runs_with_the_client_of_openai(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with serving([run.path], tmp_path / "store.sqlite") as url:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{url}/v1")
        monkeypatch.setenv("OPENAI_API_KEY", "not-needed")
        values: dict = {}
        exec(write_program('a "blob"\nat the top', "now left"), values)
        call = values["follow_up"].output[0]
        assert base64.b64decode(call.result).startswith(b"\x89PNG")
        assert make_client(url).responses.retrieve(values["response"].id)
    assert Path("image.png").read_bytes().startswith(b"\x89PNG")


def test_the_page_of_the_lecture_shows_the_program_that_is_run():
    page = (Path(__file__).parents[2] / "docs" / "lecture.md").read_text("utf-8")
    assert f"```python\n{write_program()}```" in page


def test_a_run_that_generates_nothing_has_no_record(tmp_path):
    config = pinxit.MAE(patch_size=2, width=16, depth=1, heads=2)
    run = pinxit.train(config, blobs(), out=tmp_path / "mae", steps=2, batch_size=8, quiet=True)
    assert not record_exchange(Run(run.path))
    assert program(load_context(Run(run.path), blobs())) is None


def test_places_of_the_server_are_in_its_code():
    package = Path(pinxit.__file__).parent
    for place in PLACES:
        file, name = place.split(": ")
        assert f"def {name.split('.')[-1]}(" in (package / file).read_text("utf-8")
