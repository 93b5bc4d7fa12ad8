"""A run may be a stranger's: its names, texts and report reach neither the key nor the log."""

from __future__ import annotations

import io
import json
import logging
import shutil

import httpx
import pytest
from fastapi import Request
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

import pinxit
from pinxit.errors import PinxitError
from pinxit.models.results import ScoredText
from pinxit.serve.errors import KEPT_CHARS, MAX_MESSAGE_CHARS, clean_text, error_body, truncate
from pinxit.serve.inference import router
from pinxit.serve.inference.loading import load_runs
from pinxit.serve.logs import log_fault
from pinxit.serve.studio.description import describe_for_page
from tests.serve.server import data_url, make_client, make_png, serving

HOSTILE = '\x1b[31mred\x1b[0m\n{"status": 200}\r\x00\u202eevil\ud800<script>alert(1)</script>'
HARMLESS_CONTROLS = "\n\t"


def is_harmless(text: str) -> bool:
    text.encode()  # no half of a surrogate pair
    return all(c.isprintable() or c in HARMLESS_CONTROLS for c in text)


@pytest.mark.parametrize(
    "name", ["a\x1b[2Jb", "a\nb", "a\rb", "a\u202eb", "a\u2028b", "caf\udce9", "a\x7fb", "a\x9bb"]
)
def test_a_run_whose_name_cannot_be_shown_is_refused(runs, tmp_path, name):
    shutil.copytree(runs["blobs-vae"], tmp_path / name)
    with pytest.raises(PinxitError, match="Rename it") as error:
        load_runs([tmp_path / name], "cpu", 8)
    assert is_harmless(str(error.value))


@pytest.mark.parametrize("name", ["<img src=x onerror=alert(1)>", 'a"b\\c', "{{7*7}}", "x" * 200])
def test_a_run_with_any_other_name_is_served_under_it(runs, tmp_path, name):
    shutil.copytree(runs["blobs-vae"], tmp_path / name)
    with serving([tmp_path / name], tmp_path / "s.sqlite") as url:
        client = make_client(url)
        assert client.models.list().data[0].id == name
        assert client.images.generate(model=name, prompt="x").data
        metrics = list(text_string_to_metric_families(httpx.get(f"{url}/metrics").text))
        names = {s.labels.get("model") for metric in metrics for s in metric.samples}
        assert name in names
        runs_of_page = httpx.get(f"{url}/studio/data/runs").json()
        assert [run["name"] for run in runs_of_page] == [name]


@pytest.mark.parametrize("labels", [[1, 2], [None], [{"a": 1}]])
def test_labels_that_are_no_texts_are_refused(runs, tmp_path, labels):
    run = tmp_path / "run"
    shutil.copytree(runs["blobs-vae"], run)
    config = json.loads((run / "config.json").read_text())
    config["dataset_info"]["label_names"] = labels
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(PinxitError, match="damaged"):
        load_runs([run], "cpu", 8)


def test_hostile_labels_do_no_harm(runs, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(runs["blobs-vae"], run)
    config = json.loads((run / "config.json").read_text())
    config["dataset_info"]["label_names"] = [HOSTILE, "north-west", "y" * 1_000_000]
    (run / "config.json").write_text(json.dumps(config))
    (loaded,) = load_runs([run], "cpu", 8)
    loaded.model.label_conditional = True
    request = Request({"type": "http", "headers": [(b"host", b"127.0.0.1")]})
    labels = describe_for_page(loaded, request)["labels"]
    loaded.worker.stop()
    assert labels[1] == "north-west"
    assert all(map(is_harmless, labels))
    assert max(map(len, labels)) < 20_000


def test_a_hostile_caption_does_no_harm(runs, tmp_path, monkeypatch):
    def say(self, images, **_):
        return [[ScoredText(HOSTILE, 0.0)] for _ in range(len(images))]

    monkeypatch.setattr(type(pinxit.load(runs["blobs-caption"])), "caption", say)
    content = [{"type": "input_image", "image_url": data_url(make_png())}]
    body = {"model": "gpt-5", "input": [{"role": "user", "content": content}]}
    with serving([runs["blobs-caption"]], tmp_path / "s.sqlite") as url:
        for stream in (False, True):
            answer = httpx.post(f"{url}/v1/responses", json={**body, "stream": stream})
            assert answer.status_code == 200
        answer = httpx.post(f"{url}/v1/responses", json=body).json()
        assert is_harmless(answer["output"][0]["content"][0]["text"])
        assert httpx.get(f"{url}/v1/responses/{answer['id']}").json() == answer


def test_a_report_that_links_elsewhere_is_not_shown(runs, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("the key")
    run = tmp_path / "run"
    shutil.copytree(runs["blobs-vae"], run)
    (run / "report.html").unlink(missing_ok=True)
    (run / "report.html").symlink_to(secret)
    with serving([run], tmp_path / "s.sqlite") as url:
        report = httpx.get(f"{url}/studio/data/report", params={"run": "run"})
        assert (report.status_code, report.content) == (204, b"")
        (run / "report.html").unlink()
        (run / "report.html").write_bytes(b"<p>caf\xe9 \xff")
        report = httpx.get(f"{url}/studio/data/report", params={"run": "run"})
        assert report.content == b"<p>caf\xe9 \xff"


# -- errors and the log ----------------------------------------------------------------------------


@given(st.text())
def test_an_error_has_no_characters_that_do_harm(text):
    message = error_body(400, HOSTILE + text)["error"]["message"]
    assert is_harmless(message.translate(dict.fromkeys(map(ord, KEPT_CHARS))))
    assert is_harmless(truncate(HOSTILE + text))


@given(st.text(max_size=50).map(lambda text: 1000 * text))
def test_a_long_text_is_cut_off(text):
    assert len(error_body(400, text)["error"]["message"]) <= MAX_MESSAGE_CHARS
    assert len(clean_text(text, 100)) <= 100


def test_joiners_of_scripts_and_emoji_are_kept():
    text = "família 👩\u200d🎨 می\u200cخواهم\nnext\tline"
    assert clean_text(text) == text


def log_of(error: Exception) -> str:
    with io.StringIO() as stream:
        handler = logging.StreamHandler(stream)
        logger = logging.getLogger("pinxit.serve")
        logger.addHandler(handler)
        try:
            raise error
        except Exception as raised:
            log_fault("request req_1", raised)
        finally:
            logger.removeHandler(handler)
        return stream.getvalue()


def test_the_log_says_where_a_fault_is_and_nothing_that_others_have_written():
    for error in (ValueError(HOSTILE), KeyError("my secret prompt")):
        text = log_of(error)
        assert f"request req_1 failed: {type(error).__name__}\n" in text
        assert "log_of" in text
        assert "secret" not in text
        assert "evil" not in text
    memory = log_of(RuntimeError(f"out of memory {HOSTILE}"))
    assert "out of memory" in memory
    assert "\x1b" not in memory
    assert '\n{"status"' not in memory


def test_a_fault_of_a_model_is_logged_without_the_prompt(runs, tmp_path, monkeypatch, caplog):
    async def fail(self, request, on_preview=None):
        raise KeyError(request.prompt)

    monkeypatch.setattr(router.Router, "generate", fail)
    with serving([runs["blobs-draw"]], tmp_path / "s.sqlite") as url:
        body = {"prompt": "a secret wish", "model": "blobs-draw"}
        for stream in (False, True):
            answer = httpx.post(f"{url}/v1/images/generations", json={**body, "stream": stream})
            assert answer.status_code == (200 if stream else 500)
            assert "secret" not in answer.text
        response = {"model": "gpt-5", "input": "a secret wish", "stream": True}
        response["tools"] = [{"type": "image_generation"}]
        events = httpx.post(f"{url}/v1/responses", json=response).text
        assert "response.failed" in events
    assert "secret" not in caplog.text
    assert "KeyError" in caplog.text
