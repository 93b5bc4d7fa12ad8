"""A run that trains, or was stopped, in the studio; and one that has no weights yet."""

from __future__ import annotations

import io

import httpx
import pytest
from PIL import Image

from pinxit.errors import PinxitError, UsageError
from pinxit.runs import Run
from pinxit.serve.inference.loading import load_runs
from pinxit.serve.inference.pending import split_pending
from pinxit.serve.inference.registry import ModelRegistry
from pinxit.training.run_lock import lock_run
from pinxit.training.session import NUM_PREVIEW_IMAGES
from pinxit.watch.progress import DEFAULT_TITLE, read_progress, read_sheet
from tests.builders import blobs, make_run
from tests.serve.server import serving, wait_until
from tests.watch.test_page import Page
from tests.watch.training import train_in_thread


@pytest.fixture
def half_run(tmp_path):
    """A run that was stopped, with weights."""
    run = make_run(tmp_path / "blobs", blobs())
    run.write("config.json", {**run.config, "finished": False})
    return Run(run.path)


def get_json(url: str):
    return httpx.get(url, timeout=60).json()


@pytest.mark.parametrize(
    ("width", "scheme"), [(1100, "light"), pytest.param(375, "dark", marks=pytest.mark.long)]
)
def test_a_run_in_training_has_a_tab(browser, tmp_path, monkeypatch, width, scheme):
    with train_in_thread(tmp_path / "run", monkeypatch) as training:
        training.wait_for(lambda state: state["stages"] and state["stages"][0]["sheets"])
        with serving([training.out], tmp_path / "s.sqlite") as url:
            view = Page(browser, url, width, scheme)
            view.wait_for("document.querySelector('#tab-training') !== null")
            view.page.click("#tab-training")
            view.wait_for("document.querySelectorAll('.t-sheet img[src^=blob]').length === 2")
            view.wait_for("document.querySelectorAll('.t-chart path.t-curve').length > 1")
            assert view.text(".t-status") == "Training"
            assert not view.page.is_visible("text=Stop training"), "that is for its own page"
            view.page.click("#tab-sample")
            assert view.page.is_hidden("#training")
            view.page.click("#tab-training")
            training.stop()
            view.wait_for("document.querySelector('.t-status').textContent === 'Stopped'")
            assert "pinxit train --resume" in view.text(".t-message")
            assert view.page.evaluate("document.documentElement.scrollWidth") <= width
            assert view.problems == []
            view.page.close()


def test_a_run_that_was_stopped_has_a_tab_and_a_finished_one_has_none(half_run, tmp_path):
    with serving([half_run.path], tmp_path / "s.sqlite") as url:
        (record,) = get_json(f"{url}/studio/data/runs")
        assert record["abilities"][0] == "training"
        assert "sample" in record["abilities"]
        state = get_json(f"{url}/studio/data/training?run=blobs")
        assert state["status"] == "stopped"
        assert state["message"].endswith(f"pinxit train --resume {half_run.shell_path}")
        assert state["stages"][0]["charts"]
        name = state["stages"][0]["sheets"][0]["files"][-1]["name"]
        sheet = f"{url}/studio/data/training/sheet"
        found = httpx.get(sheet, params={"run": "blobs", "stage": 1, "name": name})
        assert found.content.startswith(b"\x89PNG")
        for wrong in (
            {"name": "../config.json"},
            {"name": "step-9.png"},
            {"stage": 2},
            {"run": "x"},
        ):
            fields = {"run": "blobs", "stage": 1, "name": name, **wrong}
            assert httpx.get(sheet, params=fields).status_code == 404
        assert httpx.get(f"{url}/studio/static/training/chart.js").status_code == 200
        for wrong in ("watch.html", "nothing.js", "..%2f..%2fserver.py"):
            assert httpx.get(f"{url}/studio/static/training/{wrong}").status_code == 404
        half_run.write("config.json", {**half_run.config, "finished": True})
        (record,) = get_json(f"{url}/studio/data/runs")
        assert "training" not in record["abilities"]


def test_a_run_is_served_from_its_first_weights_on(half_run, tmp_path):
    weights = half_run.weights_path.rename(tmp_path / "weights")
    with lock_run(half_run), serving([half_run.path], tmp_path / "s.sqlite") as url:
        assert get_json(f"{url}/v1/models")["data"] == []
        for model in ("gpt-5", "blobs"):
            body = {"model": model, "input": "a blob", "tools": [{"type": "image_generation"}]}
            response = httpx.post(f"{url}/v1/responses", json=body)
            assert response.status_code == 503
            assert "weights yet" in response.json()["error"]["message"]
        (record,) = get_json(f"{url}/studio/data/runs")
        assert record["abilities"] == ["training"]
        state = get_json(f"{url}/studio/data/training?run=blobs")
        assert "reload the page" in state["message"]
        assert httpx.get(f"{url}/studio/data/summary?run=blobs").status_code == 503
        half_run.weights_path.write_bytes(b"not weights")
        assert get_json(f"{url}/v1/models")["data"] == []
        weights.replace(half_run.weights_path)
        wait_until(lambda: get_json(f"{url}/v1/models")["data"])
        body["model"] = "gpt-5"
        assert httpx.post(f"{url}/v1/responses", json=body, timeout=60).status_code == 200
        (record,) = get_json(f"{url}/studio/data/runs")
        assert "sample" in record["abilities"]


def test_a_run_without_weights_that_nobody_trains_is_refused(half_run):
    half_run.weights_path.unlink()
    ready, pending = split_pending([half_run.path])
    assert pending == []
    with pytest.raises(PinxitError, match="has no weights yet; train it"):
        load_runs(ready, "cpu", 8)


def test_an_alias_may_stand_for_a_run_that_is_pending(half_run):
    models = ModelRegistry([], {"dall-e-3": "blobs"}, [half_run])
    assert models.aliases["dall-e-3"] == "blobs"
    with pytest.raises(UsageError, match="no run is named"):
        ModelRegistry([], {"dall-e-3": "other"}, [half_run])
    with pytest.raises(UsageError, match="same name"):
        ModelRegistry([], None, [half_run, half_run])


def test_titles_are_those_of_what_was_saved(runs):
    """A grid has a row for each kind of image that its title names."""
    rows = {"generated above, true": 2, "edited images, true": 3, "reconstructed below": 2}
    for name, path in runs.items():
        (stage,) = read_progress(Run(path), is_running=False)["stages"]
        for sheet in stage["sheets"]:
            assert sheet["title"] != DEFAULT_TITLE, name
            content = read_sheet(Run(path), 1, sheet["files"][-1]["name"])
            size = Image.open(io.BytesIO(content or b"")).size
            expected = [count for text, count in rows.items() if text in sheet["title"]]
            num_rows = round(NUM_PREVIEW_IMAGES * size[1] / size[0])
            assert not expected or num_rows == expected[0], (name, sheet["title"])
