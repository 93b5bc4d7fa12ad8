"""Keys, host names, sizes, and what is noted of a request."""

from __future__ import annotations

import logging

import httpx
import openai
import pytest

from pinxit.cli import main
from pinxit.serve.middleware import Rules
from tests.serve.server import client as client_of
from tests.serve.server import data_url, make_png, serving

KEY = "a-key-of-this-test"


@pytest.fixture(scope="module")
def locked(runs, tmp_path_factory):
    store = tmp_path_factory.mktemp("locked") / "s.sqlite"
    with serving([runs["blobs-vae"]], store, rules=Rules(KEY, most_body=200_000)) as base:
        yield base


def test_the_right_key_opens(locked):
    assert client_of(locked, KEY).models.list().data


@pytest.mark.parametrize("key", ["wrong", KEY + "x", KEY[:-1]])
def test_a_wrong_key_does_not(locked, key):
    with pytest.raises(openai.AuthenticationError) as told:
        client_of(locked, key).models.list()
    assert told.value.code == "invalid_api_key"


@pytest.mark.parametrize("value", [None, KEY, f"Basic {KEY}", "Bearer", b"Bearer \xff\xfe"])
def test_nor_do_other_headers(locked, value):
    headers = {} if value is None else {"Authorization": value}
    answer = httpx.get(f"{locked}/v1/models", headers=headers)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert answer.headers["x-request-id"]


def test_health_needs_no_key_and_figures_do(locked):
    assert httpx.get(f"{locked}/healthz").json() == {"status": "alive"}
    assert httpx.get(f"{locked}/readyz").json() == {"status": "ready"}
    assert httpx.get(f"{locked}/metrics").status_code == 401


def test_figures_count_requests(base):
    httpx.get(f"{base}/v1/models/none")
    text = httpx.get(f"{base}/metrics").text
    assert 'pinxit_requests_total{route="/v1/models",status="404"}' in text


def test_other_host_names_are_refused(base):
    answer = httpx.get(f"{base}/v1/models", headers={"Host": "evil.example"})
    assert answer.status_code == 403


def test_bodies_that_are_too_large_are_refused_by_their_length_or_as_they_come(locked):
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    url = f"{locked}/v1/images/generations"
    answer = httpx.post(url, content=b"x" * 200_001, headers=headers)
    assert answer.status_code == 413

    def pieces():
        for _ in range(30):
            yield b"x" * 10_000

    assert httpx.post(url, content=pieces(), headers=headers).status_code == 413
    assert httpx.get(f"{locked}/healthz").status_code == 200


def test_the_log_holds_neither_keys_nor_words_nor_images(locked, caplog):
    caplog.set_level(logging.INFO, "pinxit.serve")
    parts = [
        {"type": "input_text", "text": "a word of mine"},
        {"type": "input_image", "image_url": data_url(make_png())},
    ]
    client_of(locked, KEY).responses.create(
        model="gpt-5", input=[{"role": "user", "content": parts}]
    )
    text = caplog.text
    assert '"route": "/v1/responses"' in text
    assert not [secret for secret in (KEY, "a word", "iVBOR") if secret in text]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "which runs?"),
        (["none"], "no run at none"),
        (["RUN", "--host", "0.0.0.0"], "give an --api-key, or --insist"),
        (["RUN", "--alias", "x"], "an alias is NAME=RUN"),
        (["RUN", "--alias", "x=none"], "there is no run 'none'"),
        (["RUN", "--store", "nonsense://x"], "--store"),
        (["RUN", "RUN"], "two runs are named"),
        (["RUN", "--waiting", "0"], "1 or more"),
    ],
)
def test_bad_usage_of_the_command_is_told(runs, capsys, monkeypatch, tmp_path, words, says):
    monkeypatch.delenv("PINXIT_API_KEY", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    told = [str(runs["blobs-vae"]) if word == "RUN" else word for word in words]
    assert main(["serve", *told, "--port", "0"]) == 2
    assert says in capsys.readouterr().err


def test_a_port_that_is_taken_is_told(runs, base, capsys):
    port = base.rsplit(":", 1)[1]
    assert main(["serve", str(runs["blobs-vae"]), "--port", port]) == 1
    assert "cannot listen on" in capsys.readouterr().err
