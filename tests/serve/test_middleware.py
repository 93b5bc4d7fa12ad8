"""API keys, host names, body sizes, metrics and log lines; usage errors of the command."""

from __future__ import annotations

import json
import logging
import re
import time

import httpx
import openai
import pytest

import pinxit
from pinxit.cli import main
from pinxit.errors import UsageError
from pinxit.serve.middleware import AccessRules, RequestMiddleware
from pinxit.serve.server import ServerOptions
from tests.serve.server import data_url, make_client, make_png, serving

KEY = "a-key-of-this-test"


@pytest.fixture(scope="module")
def url_with_key(runs, tmp_path_factory):
    store = tmp_path_factory.mktemp("with_key") / "s.sqlite"
    with serving(
        [runs["blobs-vae"]], store, rules=AccessRules(KEY, max_body_bytes=200_000)
    ) as base_url:
        yield base_url


def test_the_right_key_is_accepted(url_with_key):
    assert make_client(url_with_key, KEY).models.list().data


@pytest.mark.parametrize("key", ["wrong", KEY + "x", KEY[:-1]])
def test_a_wrong_key_is_refused(url_with_key, key):
    with pytest.raises(openai.AuthenticationError) as error:
        make_client(url_with_key, key).models.list()
    assert error.value.code == "invalid_api_key"


@pytest.mark.parametrize("value", [None, KEY, f"Basic {KEY}", "Bearer", b"Bearer \xff\xfe"])
def test_other_authorization_headers_are_refused(url_with_key, value):
    headers = {} if value is None else {"Authorization": value}
    response = httpx.get(f"{url_with_key}/v1/models", headers=headers)
    assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
    assert response.headers["x-request-id"]


def test_health_needs_no_key_and_metrics_do(url_with_key):
    assert httpx.get(f"{url_with_key}/healthz").json() == {"status": "alive"}
    assert httpx.get(f"{url_with_key}/readyz").json() == {"status": "ready"}
    assert httpx.get(f"{url_with_key}/metrics").status_code == 401


def test_metrics_count_requests(base_url):
    httpx.get(f"{base_url}/v1/models/none")
    text = httpx.get(f"{base_url}/metrics").text
    assert 'pinxit_requests_total{route="/v1/models",status="404"}' in text


@pytest.mark.parametrize(
    "host",
    ["evil.example", "xlocalhost", "evil-localhost", "localhost.evil.example",
     "127.0.0.1.evil.example", "1127.0.0.1", "evil.localhost", "localhost:80:80", ""],
)  # fmt: skip
def test_unknown_host_names_are_refused(base_url, host):
    response = httpx.get(f"{base_url}/v1/models", headers={"Host": host})
    assert response.status_code == 403


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1", "[::1]", "[::1]:80"])
def test_own_host_names_are_accepted(base_url, host):
    assert httpx.get(f"{base_url}/v1/models", headers={"Host": host}).status_code == 200


def test_a_body_that_is_too_large_is_refused_by_its_length_or_while_it_is_read(url_with_key):
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    url = f"{url_with_key}/v1/images/generations"
    response = httpx.post(url, content=b"x" * 200_001, headers=headers)
    assert response.status_code == 413

    def chunks():
        for _ in range(30):
            yield b"x" * 10_000

    assert httpx.post(url, content=chunks(), headers=headers).status_code == 413
    assert httpx.get(f"{url_with_key}/healthz").status_code == 200


def test_a_multipart_body_that_is_too_large_while_it_is_read_is_413_not_400(url_with_key):
    """Parsers of forms must not turn the error into one of their own."""
    boundary = b'--x\r\nContent-Disposition: form-data; name="prompt"\r\n\r\n'

    def chunks():
        yield boundary
        for _ in range(30):
            yield b"x" * 10_000

    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "multipart/form-data; boundary=x"}
    response = httpx.post(f"{url_with_key}/v1/images/edits", content=chunks(), headers=headers)
    assert response.status_code == 413
    assert response.json()["error"]["message"] == "The request is larger than 0.191 MiB."


def test_the_log_has_no_keys_prompts_or_images(url_with_key, caplog):
    caplog.set_level(logging.INFO, "pinxit.serve")
    parts = [
        {"type": "input_text", "text": "a word of mine"},
        {"type": "input_image", "image_url": data_url(make_png())},
    ]
    make_client(url_with_key, KEY).responses.create(
        model="gpt-5", input=[{"role": "user", "content": parts}]
    )
    deadline = time.monotonic() + 10
    while not caplog.records and time.monotonic() < deadline:
        time.sleep(0.01)  # the line is written after the answer is sent
    text = caplog.text
    record = json.loads(caplog.records[-1].message)
    assert record["route"] == "/v1/responses"
    assert set(record) == {"request_id", "method", "route", "status", "duration_ms"}
    assert not [secret for secret in (KEY, "a word", "iVBOR") if secret in text]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no run given"),
        (["none"], "no run at none"),
        (["RUN", "--host", "0.0.0.0"], "set --api-key, or pass --allow-no-auth"),
        (["RUN", "--alias", "x"], "--alias must be NAME=RUN"),
        (["RUN", "--alias", "x=none"], "no run is named 'none'"),
        (["RUN", "--store", "nonsense://x"], "--store"),
        (["RUN", "RUN"], "two runs are named"),
        (["RUN", "--max-queue", "0"], "1 or more"),
        (["RUN", "--store-days", "0"], "--store-days must be above 0"),
        (["RUN", "--store-max-mib", "nan"], "--store-max-mib must be above 0"),
        (["RUN", "--llm-model", "x"], "--llm-model needs --llm"),
        (["RUN", "--llm-sees-images"], "--llm-sees-images needs --llm"),
        (["RUN", "--llm", "localhost:1/v1"], "give an address such as"),
        (["RUN", "--llm", "http://"], "give an address such as"),
        (["RUN", "--allow-host", "https://x.example"], "without a scheme"),
        (["RUN", "--allow-remote", ""], "without a scheme"),
        (["RUN", "--alias", "blobs-vae=pinxit"], "'blobs-vae' is a run"),
    ],
)
def test_invalid_options_of_the_command_are_errors(
    runs, capsys, monkeypatch, tmp_path, arguments, message
):
    monkeypatch.delenv("PINXIT_API_KEY", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    run = str(runs["blobs-vae"])
    arguments = [run if argument == "RUN" else argument for argument in arguments]
    assert main(["serve", *arguments, "--port", "0"]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("command", ["serve", "mcp"])
def test_a_command_without_a_run_names_itself(command, capsys):
    assert main([command]) == 2
    assert f"no run given: pinxit {command} RUN" in capsys.readouterr().err


def test_a_port_in_use_is_an_error(runs, base_url, capsys):
    port = base_url.rsplit(":", 1)[1]
    assert main(["serve", str(runs["blobs-vae"]), "--port", port]) == 1
    assert "cannot listen on" in capsys.readouterr().err


BLANK = [None, "", " ", "\t\n"]


@pytest.mark.parametrize("key", BLANK[1:])
def test_rules_have_no_blank_key(key):
    with pytest.raises(UsageError, match="the API key is blank"):
        AccessRules(key)
    with pytest.raises(UsageError, match="the API key is blank"):
        ServerOptions("127.0.0.1", 0, "x.sqlite", api_key=key)


@pytest.mark.parametrize("variable", BLANK)
@pytest.mark.parametrize("key", BLANK)
def test_no_blank_key_opens_a_server_to_other_machines(
    key, variable, runs, tmp_path, monkeypatch, capfd
):
    monkeypatch.delenv("PINXIT_API_KEY", raising=False)
    if variable is not None:
        monkeypatch.setenv("PINXIT_API_KEY", variable)
    expected = "other machines can reach 0.0.0.0|the API key is blank"
    with pytest.raises(UsageError, match=expected):
        pinxit.Run(runs["blobs-vae"]).serve(
            host="0.0.0.0", api_key=key, store=str(tmp_path / "s.sqlite")
        )
    options = [] if key is None else ["--api-key", key]
    command = ["serve", str(runs["blobs-vae"]), "--host", "0.0.0.0", *options]
    assert main([*command, "--store", str(tmp_path / "s.sqlite")]) == 2
    assert re.search(expected, capfd.readouterr().err)


def test_an_empty_bearer_has_no_key():
    rules = AccessRules(KEY)
    object.__setattr__(rules, "api_key", "")  # whatever a rule says
    middleware = RequestMiddleware(None, rules, None)  # type: ignore[arg-type]
    assert not middleware._has_key({b"authorization": b"Bearer "})
    assert not middleware._has_key({})


def test_the_key_of_the_environment_is_required_of_a_server_beside_python(
    runs, tmp_path, monkeypatch
):
    monkeypatch.setenv("PINXIT_API_KEY", KEY)
    with pinxit.Run(runs["blobs-vae"]).serve(store=str(tmp_path / "s.sqlite")) as server:
        assert httpx.get(f"{server.base_url}/models").status_code == 401
        headers = {"Authorization": f"Bearer {KEY}"}
        assert httpx.get(f"{server.base_url}/models", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"port": 99_999}, "port must be from 0 to 65535, not 99999"),
        ({"port": -1}, "port must be"),
        ({"port": "8000"}, "serve: port: expected int"),
        ({"aliases": ["a=b"]}, r"aliases is a dict of runs by further names, not \['a=b'\]"),
        ({"max_queue": "many"}, "serve: max_queue: expected int"),
        ({"alias": ("a=b",)}, "no 'alias'"),
    ],
)
def test_invalid_options_of_a_server_beside_python_are_bad_usage(options, error, runs):
    with pytest.raises(UsageError, match=error):
        pinxit.Run(runs["blobs-vae"]).serve(**options)
