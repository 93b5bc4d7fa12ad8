"""The data of the studio: examples of a run, what it is, images as the model sees them, cancel."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import shutil
import threading
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pinxit.data.sources.digits import SOURCE_TYPE
from pinxit.models.drawing import Drawing
from pinxit.serve.inference.loading import LoadedRun, load_runs
from pinxit.serve.studio import examples as examples_module
from pinxit.serve.studio import routes
from pinxit.serve.studio.description import summarize
from pinxit.serve.studio.examples import list_words, load_examples
from pinxit.serve.studio.text import clean_text
from tests.serve.server import data_url, make_png, wait_until

SCRIPT = "<img src=x onerror=alert(1)>"
PNG = base64.b64encode(make_png()).decode()


@pytest.fixture
def load_copy(runs, tmp_path):
    """A function that loads a copy of a run, after changing its folder."""
    loaded: list[LoadedRun] = []

    def load(name: str, change) -> LoadedRun:
        folder = tmp_path / name
        shutil.copytree(runs[name], folder)
        change(folder)
        loaded.extend(load_runs([folder], "cpu", 64))
        return loaded[-1]

    yield load
    for run in loaded:
        run.worker.stop()


def change_config(folder: Path, **changes) -> None:
    record = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(record | changes))


# -- examples --------------------------------------------------------------------------------------


def test_examples_are_those_that_training_recorded(base_url):
    record = httpx.get(f"{base_url}/studio/data/examples?run=blobs-draw").json()
    assert record["source"] == "test images of blobs"
    assert len(record["images"]) == 24
    captions = {caption["text"] for caption in record["captions"]}
    assert "a blob at the top left" in captions
    assert {caption["language"] for caption in record["captions"]} == {"en", "fr"}


def test_an_older_run_falls_back_to_its_words_and_a_model_to_its_samples(load_copy):
    def forget(folder: Path) -> None:
        (folder / "examples.json").unlink()

    examples = asyncio.run(load_examples(load_copy("blobs-draw", forget)))
    assert (examples["images"], examples["captions"]) == ([], [])
    assert "blob" in examples["words"]
    examples = asyncio.run(load_examples(load_copy("blobs-vae", forget)))
    assert "samples of this run" in examples["source"]
    assert len(examples["images"]) == 8


def test_an_older_run_of_a_built_in_set_reads_it_again(load_copy):
    def rename(folder: Path) -> None:
        (folder / "examples.json").unlink()
        change_config(folder, data={"source": "digits", "files": [], "options": {}})

    examples = asyncio.run(load_examples(load_copy("blobs-vae", rename)))
    assert list(SOURCE_TYPE.list_names()) == ["digits"]
    assert examples["source"] == "test images of digits"
    assert examples["images"][0]["label"] in {str(digit) for digit in range(10)}


@pytest.mark.parametrize("source", ["shapes:10000000", "shapes:1e9", "hf:some/set", "/etc"])
def test_data_that_are_large_or_elsewhere_are_not_loaded(load_copy, source, monkeypatch):
    def rename(folder: Path) -> None:
        (folder / "examples.json").unlink()
        change_config(folder, data={"source": source, "files": [], "options": {}})

    loaded = []
    monkeypatch.setattr(examples_module, "load_run_data", lambda *args, **_: loaded.append(args))
    examples = asyncio.run(load_examples(load_copy("blobs-draw", rename)))
    assert (examples["images"], loaded) == ([], [])


def test_a_path_in_a_strangers_config_is_not_opened(load_copy, tmp_path):
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "photo.png").write_bytes(make_png())

    def name_secret(folder: Path) -> None:
        (folder / "examples.json").unlink()
        data = {"source": str(secret), "files": [str(secret)], "options": {}}
        change_config(folder, data=data)

    examples = asyncio.run(load_examples(load_copy("blobs-igpt", name_secret)))
    assert "samples of this run" in examples["source"]
    assert str(tmp_path) not in json.dumps(examples)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.just(PNG) | st.just(SCRIPT),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(["png", "captions", "before", "label", "en", "images"]), inner, max_size=4
    ),
    max_leaves=12,
)  # fmt: skip


@pytest.fixture(scope="module")
def drawing(runs):
    (run,) = load_runs([runs["blobs-draw"]], "cpu", 64)
    yield run
    run.worker.stop()


@settings(suppress_health_check=[HealthCheck.too_slow])  # on a busy machine
@given(record=st.fixed_dictionaries({"split": JSON, "images": st.lists(JSON, max_size=30) | JSON}))
def test_whatever_a_run_records_is_shown_as_bounded_text(drawing, tmp_path_factory, record):
    file = drawing.run.path / "examples.json"
    before = file.read_bytes()
    try:
        file.write_text(json.dumps(record))
        examples = asyncio.run(load_examples(drawing))
    finally:
        file.write_bytes(before)
    assert len(examples["images"]) <= 24
    for example in examples["images"]:
        for png in (example["png"], example.get("before", PNG)):
            assert base64.b64decode(png, validate=True).startswith(b"\x89PNG")
        texts = [*example["captions"], *example["captions"].values(), example["label"]]
        assert all(isinstance(text, str) and len(text) <= 300 for text in texts)


@given(value=st.text() | st.integers() | st.none(), limit=st.integers(2, 50))
def test_texts_are_on_one_line_and_not_longer_than_their_limit(value, limit):
    text = clean_text(value, limit)
    assert len(text) <= limit
    assert text.isprintable()


def test_frequent_words_come_first(drawing):
    words = list_words(drawing.model)
    assert set(words) <= {"blob", "the", "top", "left", "right", "bottom", "une", "tache", "haut",
                          "gauche", "droite", "bas"}  # fmt: skip
    assert words.index("the") < words.index("bottom")


def test_no_script_of_the_page_writes_html():
    for file in routes.STATIC.glob("*.js"):
        text = file.read_text()
        for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
            assert word not in text, file.name


# -- what a run is ---------------------------------------------------------------------------------


def test_a_damaged_folder_is_described_as_far_as_it_goes(load_copy):
    def damage(folder: Path) -> None:
        (folder / "metrics.csv").write_text("step,loss\n1,not a number\n")
        (folder / "evaluation.json").write_text("[")

    summary = summarize(load_copy("blobs-vae", damage))
    assert summary == {"sentence": "", "verdict": {}, "metrics": []}


def test_a_private_path_is_shown_on_the_machine_itself_only(base_url, runs):
    def path(**headers):
        records = httpx.get(f"{base_url}/studio/data/runs", headers=headers).json()
        return records[0]["path"]

    name = next(iter(runs))
    assert path() == str(runs[name])
    assert path(**{"X-Forwarded-For": "1.2.3.4"}) == name


# -- images ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "mode", "expected"),
    [
        ((8, 8), "L", []),
        ((8, 8), "RGB", ["turned grey"]),
        ((64, 64), "L", ["resized to 8 × 8"]),
        ((64, 16), "RGB", ["cropped to the frame", "resized to 8 × 8", "turned grey"]),
    ],
)
def test_an_image_says_how_the_model_sees_it(base_url, size, mode, expected):
    fields = {"run": "blobs-vae", "image": data_url(make_png(size, mode)), "name": "a.png"}
    fitted = httpx.post(f"{base_url}/studio/data/input", json=fields).json()
    image = Image.open(io.BytesIO(base64.b64decode(fitted["png"])))
    assert (image.size, image.mode) == ((8, 8), "L")
    width, height = size
    assert fitted["notes"] == (
        [f"a.png is {width} × {height}; for this model {', '.join(expected)}."] if expected else []
    )
    left, top, right, bottom = fitted["crop"]
    assert (right - left) * width == pytest.approx((bottom - top) * height)


def test_a_client_that_goes_away_ends_its_work(base_url, monkeypatch):
    steps = []

    def draw_stream(self, captions, *args, **options):
        original = self.draw(captions, seed=[0] * len(captions))
        for step in range(500):
            steps.append(step)
            time.sleep(0.01)
            yield original

    monkeypatch.setattr(Drawing, "draw_stream", draw_stream)
    fields = {"run": "blobs-draw", "task": "draw", "prompt": "a blob"}
    with httpx.stream("POST", f"{base_url}/studio/data/generate", json=fields) as response:
        assert "progress" in next(response.iter_lines())
    wait_until(lambda: steps)
    count = -1
    while count != len(steps):  # until it stands still
        count = len(steps)
        time.sleep(0.2)
    assert count < 400


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"prompt": " "}, "prompt"),
        ({"n": 65}, "n"),
        ({"seed": -1}, "seed"),
        ({"task": "edit"}, "run"),
        ({"run": "none"}, "run"),
        ({"temprature": 1}, "temprature"),
        ({"top_p": 0}, "top_p"),
    ],
)
def test_an_invalid_request_names_its_field(base_url, changes, param):
    fields = {"run": "blobs-draw", "task": "draw", "prompt": "a blob"} | changes
    answer = httpx.post(f"{base_url}/studio/data/generate", json=fields)
    assert 400 <= answer.status_code < 500
    assert answer.json()["error"]["param"] == param


def test_a_report_is_shown_in_a_sandbox_and_a_run_without_one_says_nothing(base_url, runs):
    url = f"{base_url}/studio/data/report?run=blobs-edit"
    assert httpx.get(url).status_code == 204
    file = runs["blobs-edit"] / "report.html"
    file.write_text(SCRIPT)
    answer = httpx.get(url)
    file.unlink()
    assert answer.text == SCRIPT
    assert "sandbox; script-src 'none'" in answer.headers.get_list("content-security-policy")


def test_a_report_is_made_once_for_all_who_want_it(base_url, runs, monkeypatch):
    calls = []

    def write(run):
        calls.append(run.name)
        time.sleep(0.3)

    monkeypatch.setattr(routes, "_write_report", write)
    answers = []

    def post():
        fields = {"run": "blobs-igpt"}
        answers.append(httpx.post(f"{base_url}/studio/data/report", json=fields).status_code)

    threads = [threading.Thread(target=post) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 4
    assert calls == ["blobs-igpt"]


def test_a_report_that_cannot_be_written_says_so(base_url, monkeypatch):
    def fail(run):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(routes, "report", fail)
    answer = httpx.post(f"{base_url}/studio/data/report", json={"run": "blobs-igpt"})
    assert answer.status_code == 500
    assert "cannot be written: Permission denied" in answer.json()["error"]["message"]


def test_arrays_of_latents_are_finite(base_url):
    fields = {"run": "blobs-vae", "image": data_url(make_png((8, 8), "L"))}
    latent = httpx.post(f"{base_url}/studio/data/latent", json=fields).json()
    assert len(latent["z"]) == 4
    assert sorted(latent["order"]) == [0, 1, 2, 3]
    assert np.isfinite(latent["z"]).all()
