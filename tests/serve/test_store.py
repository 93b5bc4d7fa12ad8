"""The store: SQLite and PostgreSQL, limits of age and size, servers that are killed."""

from __future__ import annotations

import base64
import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest

from pinxit.errors import PinxitError, UsageError
from pinxit.serve.store import Store
from tests.serve.server import TOOLS, make_client, serving

pytestmark = pytest.mark.slow


def make_body(name: str = "resp_1", content: bytes = b"image") -> dict:
    result = base64.b64encode(content).decode()
    item = {"id": f"ig_{name}", "type": "image_generation_call", "result": result}
    return {"id": name, "output": [item], "metadata": {"text": "é\u0000"}}


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request, tmp_path):
    if request.param == "sqlite":
        return Store(str(tmp_path / "a" / "serve.sqlite"))
    return Store(request.getfixturevalue("postgres"))


@pytest.mark.parametrize("name", ["max_days", "max_mib"])
@pytest.mark.parametrize("value", [-1.0, 0.0, float("nan"), float("inf"), float("-inf")])
def test_a_bound_of_the_store_is_refused_or_keeps_what_is_stored(tmp_path, name, value):
    path = str(tmp_path / "s.sqlite")
    Store(path).save_file("file_1", "a", "vision", b"x" * 1000)
    if value == float("inf"):
        Store(path, **{name: value}).save_file("file_2", "b", "vision", b"x")
    else:
        with pytest.raises(UsageError, match="must be above 0"):
            Store(path, **{name: value})
    assert Store(path).load_file("file_1") is not None


MEMORY = (
    ":memory:",
    "sqlite://",
    "sqlite:///:memory:",
    "sqlite:///x?mode=memory",
    "sqlite:///file:x?mode=memory&uri=true",
    "sqlite:///file::memory:?uri=true",
)
FILES = ("s.sqlite", "a b?c=d%20#e.sqlite", "file:s", "a/:memory:", "sqlite:///s.sqlite")


@pytest.mark.parametrize("url", [*MEMORY, *FILES])
def test_a_store_that_opens_works_from_every_thread(tmp_path, monkeypatch, url):
    monkeypatch.chdir(tmp_path)
    if url in MEMORY:
        with pytest.raises(UsageError, match="a store is a file"):
            Store(url)
        assert not list(tmp_path.iterdir())
        return
    store = Store(url)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(store.save_response, make_body(), []).result()
    assert store.load_response("resp_1") is not None
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(store.load_image, "ig_resp_1").result() == b"image"
    assert store.is_ready()
    assert (tmp_path / url.removeprefix("sqlite:///")).is_file()


def test_a_response_and_its_image_are_stored_and_deleted(store):
    items = [{"type": "message", "role": "user", "content": "x"}]
    store.save_response(make_body(), items)
    store.save_response(make_body(), items)
    assert store.load_response("resp_1") == (make_body(), items)
    assert store.load_image("ig_resp_1") == b"image"
    assert store.delete_response("resp_1")
    assert not store.delete_response("resp_1")
    assert store.load_response("resp_1") is store.load_image("ig_resp_1") is None


def test_files_are_listed_newest_first(store):
    for name in ("file_1", "file_2"):
        store.save_file(name, "é.png", "vision", name.encode())
    assert store.load_file("file_1").content == b"file_1"
    assert [file.id for file in store.list_files(10)] == ["file_2", "file_1"]
    assert [store.delete_file(name) for name in ("file_1", "file_2", "file_1")] == [
        True,
        True,
        False,
    ]


def test_responses_above_the_age_limit_are_deleted(tmp_path):
    store = Store(str(tmp_path / "s.sqlite"), max_days=1e-6)
    store.save_response(make_body(), [])
    time.sleep(0.2)
    store.prune()
    assert store.load_response("resp_1") is store.load_image("ig_resp_1") is None


def test_above_the_size_limit_the_oldest_responses_are_deleted(tmp_path):
    store = Store(str(tmp_path / "s.sqlite"), max_mib=1)
    for number in range(60):
        store.save_response(make_body(f"resp_{number}", bytes(50_000)), [])
    store.prune()
    assert store.load_image("ig_resp_0") is None
    assert store.load_image("ig_resp_59") is not None
    num_left = sum(store.load_image(f"ig_resp_{number}") is not None for number in range(60))
    assert 1 <= num_left <= 20


def test_the_error_of_an_unreachable_store_hides_the_password():
    with pytest.raises(UsageError):
        Store("nonsense://x")
    with pytest.raises(PinxitError) as error:
        Store("postgresql://me:secret@127.0.0.1:1/none")
    assert "secret" not in str(error.value)


def test_a_store_of_another_version_is_refused(tmp_path):
    path = tmp_path / "s.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE responses (id TEXT PRIMARY KEY, given TEXT)")
    with pytest.raises(PinxitError, match="was written by another version of pinxit"):
        Store(str(path))


def test_an_active_response_can_be_cancelled_until_it_is_removed(store):
    store.add_active("resp_1")
    assert not store.poll_active("resp_1")
    assert store.cancel_active("resp_1")
    assert store.poll_active("resp_1")
    store.remove_active("resp_1")
    assert not store.cancel_active("resp_1")
    assert not store.poll_active("resp_1")


def test_servers_on_one_store_share_their_responses(runs, postgres):
    run = [runs["blobs-vae"]]
    with serving(run, postgres) as first, serving(run, postgres) as second:
        response = make_client(first).responses.create(model="gpt-5", input="a cat", tools=TOOLS)
        other = make_client(second)
        assert other.responses.retrieve(response.id).to_dict() == response.to_dict()
        follow = other.responses.create(
            model="gpt-5", input="a hat", previous_response_id=response.id, tools=TOOLS
        )
        assert follow.output[0].action == "edit"


def start_server(run, store):
    command = [sys.executable, "-m", "pinxit.cli", "serve", str(run)]
    options = ["--port", "0", "--store", str(store), "--no-studio"]
    return subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


def read_url(process):
    for line in process.stdout:
        if line.startswith("http"):
            return line.strip().removesuffix("/v1")
    raise AssertionError("the server ended")


def test_a_killed_server_loses_no_delivered_response_and_sigterm_stops_it_in_order(runs, tmp_path):
    store = tmp_path / "serve.sqlite"
    process = start_server(runs["blobs-vae"], store)
    client = make_client(read_url(process))
    responses = [
        client.responses.create(model="gpt-5", input=f"a cat {i}", tools=TOOLS) for i in range(5)
    ]
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    with pytest.raises(openai.APIConnectionError):
        client.responses.retrieve(responses[0].id)
    process = start_server(runs["blobs-vae"], store)
    client = make_client(read_url(process))
    for response in responses:
        assert client.responses.retrieve(response.id).to_dict() == response.to_dict()
    process.send_signal(signal.SIGTERM)
    process.wait(20)
    assert process.returncode in (0, -signal.SIGTERM)
