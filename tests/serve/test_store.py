"""Where a server keeps things: SQLite and PostgreSQL, age and size, kills."""

from __future__ import annotations

import base64
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import openai
import pytest

from pinxit.errors import PinxitError, UsageError
from pinxit.serve.store import Store
from tests.serve.server import client as client_of
from tests.serve.server import serving

DRAW = [{"type": "image_generation"}]


def body(name: str = "resp_1", content: bytes = b"image") -> dict:
    result = base64.b64encode(content).decode()
    item = {"id": f"ig_{name}", "type": "image_generation_call", "result": result}
    return {"id": name, "output": [item], "metadata": {"text": "é\u0000"}}


@pytest.fixture(scope="module")
def postgres(tmp_path_factory):
    """A PostgreSQL of this test's own, on a loopback port."""
    places = [*sorted(Path("/usr/lib/postgresql").glob("*/bin")), Path("/usr/local/bin")]
    programs = next((place for place in places if (place / "initdb").exists()), None)
    if programs is None:
        pytest.skip("PostgreSQL is not installed")
    folder = tmp_path_factory.mktemp("postgres")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    as_whom = []
    if os.geteuid() == 0:  # it does not run as root
        folder.chmod(0o777)
        for parent in folder.parents[:2]:
            parent.chmod(0o755)
        as_whom = [shutil.which("runuser") or "runuser", "-u", "postgres", "--"]
    data = folder / "data"
    start = [str(programs / "initdb"), "-D", str(data), "-U", "pinxit", "-A", "trust"]
    subprocess.run([*as_whom, *start], check=True, capture_output=True, cwd=folder)
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    control = [*as_whom, str(programs / "pg_ctl"), "-D", str(data), "-w"]
    log = str(folder / "log")
    subprocess.run(
        [*control, "-o", options, "-l", log, "start"], check=True, capture_output=True, cwd=folder
    )
    yield f"postgresql://pinxit@127.0.0.1:{port}/postgres"
    subprocess.run([*control, "-m", "immediate", "stop"], capture_output=True, cwd=folder)


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request, tmp_path):
    if request.param == "sqlite":
        return Store(str(tmp_path / "a" / "serve.sqlite"))
    return Store(request.getfixturevalue("postgres"))


def test_what_is_kept_comes_back_whole(store):
    given = [{"type": "message", "role": "user", "content": "x"}]
    store.keep(body(), given)
    store.keep(body(), given)
    assert store.response("resp_1") == (body(), given)
    assert store.image("ig_resp_1") == b"image"
    assert store.forget("resp_1")
    assert not store.forget("resp_1")
    assert store.response("resp_1") is store.image("ig_resp_1") is None


def test_files_come_back_newest_first(store):
    for name in ("file_1", "file_2"):
        store.keep_file(name, "é.png", "vision", name.encode())
    assert store.file("file_1").content == b"file_1"
    assert [one.id for one in store.files(10)] == ["file_2", "file_1"]
    assert [store.forget_file(name) for name in ("file_1", "file_2", "file_1")] == [
        True,
        True,
        False,
    ]


def test_what_is_too_old_goes(tmp_path):
    store = Store(str(tmp_path / "s.sqlite"), days=1e-6)
    store.keep(body(), [])
    time.sleep(0.2)
    store.prune()
    assert store.response("resp_1") is store.image("ig_resp_1") is None


def test_above_its_size_the_oldest_go_and_the_newest_stay(tmp_path):
    store = Store(str(tmp_path / "s.sqlite"), mebibytes=1)
    for number in range(60):
        store.keep(body(f"resp_{number}", bytes(50_000)), [])
    store.prune()
    assert store.image("ig_resp_0") is None
    assert store.image("ig_resp_59") is not None
    left = sum(store.image(f"ig_resp_{number}") is not None for number in range(60))
    assert 1 <= left <= 20


def test_a_store_that_cannot_be_says_so_without_the_password():
    with pytest.raises(UsageError):
        Store("nonsense://x")
    with pytest.raises(PinxitError) as told:
        Store("postgresql://me:secret@127.0.0.1:1/none")
    assert "secret" not in str(told.value)


def test_two_servers_on_one_store_serve_one_anothers_responses(runs, postgres):
    run = [runs["blobs-vae"]]
    with serving(run, postgres) as first, serving(run, postgres) as second:
        made = client_of(first).responses.create(model="gpt-5", input="a cat", tools=DRAW)
        other = client_of(second)
        assert other.responses.retrieve(made.id).to_dict() == made.to_dict()
        follow = other.responses.create(
            model="gpt-5", input="a hat", previous_response_id=made.id, tools=DRAW
        )
        assert follow.output[0].action == "edit"


def started(run, store, port):
    command = [sys.executable, "-m", "pinxit.cli", "serve", str(run)]
    options = ["--port", str(port), "--store", str(store), "--no-studio"]
    return subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


def address(process):
    for line in process.stdout:
        if line.startswith("http"):
            return line.strip().removesuffix("/v1")
    raise AssertionError("the server ended")


def test_a_kill_loses_nothing_that_was_answered_and_a_term_ends_in_order(runs, tmp_path):
    store = tmp_path / "serve.sqlite"
    process = started(runs["blobs-vae"], store, 0)
    client = client_of(address(process))
    made = [
        client.responses.create(model="gpt-5", input=f"a cat {i}", tools=DRAW) for i in range(5)
    ]
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    with pytest.raises(openai.APIConnectionError):
        client.responses.retrieve(made[0].id)
    process = started(runs["blobs-vae"], store, 0)
    client = client_of(address(process))
    for one in made:
        assert client.responses.retrieve(one.id).to_dict() == one.to_dict()
    process.send_signal(signal.SIGTERM)
    process.wait(20)
    assert process.returncode in (0, -signal.SIGTERM)
