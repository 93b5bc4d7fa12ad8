"""The page of `train --watch-port`: its port, its routes, Stop, and how it ends."""

from __future__ import annotations

import re
import socket
import threading
import time

import numpy as np
import pytest
from safetensors.numpy import load_file

import pinxit
from pinxit.cli import main
from pinxit.errors import PinxitError, UsageError
from pinxit.runs import Run
from pinxit.training.api import resume, train
from pinxit.training.run_lock import is_locked, lock_run
from pinxit.watch.server import watch_training
from tests.builders import blobs
from tests.watch.training import FLOW, VAE, get, post, train_in_thread

SHORT = {"steps": 6, "num_evals": 2, "quiet": True, "tensorboard": False}


def has_steps(state) -> bool:
    return bool(state["stages"]) and state["stages"][-1]["step"] > 0 and state["can_stop"]


def test_a_training_is_shown_and_stopped(tmp_path, monkeypatch):
    with train_in_thread(tmp_path / "run", monkeypatch) as training:
        state = training.wait_for(lambda state: has_steps(state) and state["stages"][0]["sheets"])
        (stage,) = state["stages"]
        assert (state["status"], stage["unit"]) == ("training", "nats per image")
        assert stage["charts"][0]["title"] == "loss"
        kinds = {sheets["kind"]: sheets["title"] for sheets in stage["sheets"]}
        assert kinds["step"] == "samples: new images"
        assert kinds["reconstruct"].startswith("reconstructions")
        name = stage["sheets"][0]["files"][-1]["name"]
        assert get(f"{training.url}/sheet?stage=1&name={name}")[1].startswith(b"\x89PNG")
        assert training.stop() == 200
        last = state
        while not last["has_ended"]:
            last = training.read(last["version"])  # answered as soon as there is something new
        training.thread.join(20)
    assert isinstance(training.error, KeyboardInterrupt)
    assert last["status"] == "stopped"
    assert "pinxit train --resume" in last["message"]
    with pytest.raises(OSError, match="refused"):
        get(training.url)
    step = Run(tmp_path / "run").config["trained"]["steps"]
    more = resume(tmp_path / "run", blobs(), steps=step + 2, quiet=True)
    assert more.config["trained"]["steps"] == step + 2


@pytest.mark.parametrize(("origin", "key", "status"), [
    (None, "right", 403), ("http://evil.example", "right", 403), ("null", "right", 403),
    ("own", None, 403), ("own", "wrong", 403), ("own", "", 403), ("own", "é", 403),
])  # fmt: skip
def test_only_the_page_stops_the_training(origin, key, status, monkeypatch):
    stopped = []
    with WatchPage(monkeypatch, lambda: stopped.append(1) or True) as (url, right_key):
        key = right_key if key == "right" else key
        assert post(f"{url}/stop", url if origin == "own" else origin, key) == status
        assert stopped == []
        assert post(f"{url}/stop", url, right_key) == 200
        assert stopped == [1]


@pytest.mark.parametrize("headers", [
    {"Host": "evil.example"}, {"Host": "127.0.0.1.evil.example:80"}, {"Host": ""},
    {"Origin": "http://evil.example"}, {"Sec_Fetch_Site": "cross-site"},
])  # fmt: skip
def test_other_pages_and_host_names_are_refused(headers, monkeypatch):
    with WatchPage(monkeypatch) as (url, _):
        for path in ("/", "/data", "/sheet?stage=1&name=step-1.png", "/static/watch.js"):
            assert get(url + path, **headers)[0] == 403
        link = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}
        assert get(url, **link)[0] == 200, "a link to the page is followed"
        assert get(url, Host="localhost:9000")[0] == 200, "a tunnel to another port"


@pytest.mark.parametrize("path", [
    "/!", "/a", "/datas", "/faq", "/nothing", "/sheets", "/~", "/static/../server.py",
    "/static/%2e%2e/server.py", "/static/", "/stop",
    "/sheet?stage=9&name=step-1.png", "/sheet", "/sheet?stage=1&name=../config.json",
])  # fmt: skip
def test_there_is_nothing_else(path, monkeypatch):
    with WatchPage(monkeypatch) as (url, _):
        assert get(url + path)[0] == 404


def test_a_stop_before_the_first_step_is_refused(monkeypatch):
    with WatchPage(monkeypatch, lambda: False) as (url, key):
        assert post(f"{url}/stop", url, key) == 409


def test_pages_may_not_load_from_other_hosts(monkeypatch):
    import urllib.request

    with WatchPage(monkeypatch) as (url, _), urllib.request.urlopen(url) as response:
        policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy


class WatchPage:
    """A page about nothing yet: its URL, and the key that stops."""

    def __init__(self, monkeypatch, request_stop=lambda: True):
        self.printed: list[str] = []
        monkeypatch.setattr("pinxit.watch.server.echo", self.printed.append)
        self.context = watch_training(0, request_stop=request_stop)

    def __enter__(self):
        self.context.__enter__()
        url, _, key = self.printed[0].rpartition(" ")[2].partition("/#")
        return url, key

    def __exit__(self, *error):
        return self.context.__exit__(*error)


def test_an_open_page_learns_of_a_failure(monkeypatch):
    answers = []

    def fail():
        with WatchPage(monkeypatch) as (url, _):
            first = json_of(url)
            thread = threading.Thread(
                target=lambda: answers.append(json_of(url, first["version"])), daemon=True
            )
            thread.start()
            time.sleep(0.2)
            raise PinxitError("the loss was not finite")

    with pytest.raises(PinxitError):
        fail()
    (last,) = answers
    assert (last["status"], last["message"]) == ("failed", "the loss was not finite")


def json_of(url, version=""):
    import json

    return json.loads(get(f"{url}/data?after={version}")[1])


def test_nobody_is_waited_for_without_a_page(monkeypatch):
    start = time.monotonic()
    with WatchPage(monkeypatch):
        pass
    assert time.monotonic() - start < 0.5


def test_two_stages_are_shown(tmp_path, monkeypatch):
    images = blobs(60, 18, 18, channels=3)
    with train_in_thread(
        tmp_path / "run", monkeypatch, FLOW, images, steps=4, num_evals=1, batch_size=4
    ) as training:
        states = [training.read()]
        while not states[-1]["has_ended"]:
            states.append(training.read(states[-1]["version"]))
    statuses = [[stage["status"] for stage in state["stages"]] for state in states]
    assert [] in statuses, "while the images are loaded"
    assert ["preparing", "waiting"] in statuses or ["training", "waiting"] in statuses
    assert statuses[-1] == ["finished", "finished"]
    assert [stage["family"] for stage in states[-1]["stages"]] == ["vae", "flow"]
    assert [stage["unit"] for stage in states[-1]["stages"]] == ["nats per image", "per latent"]
    assert all(stage["charts"] and stage["sheets"] for stage in states[-1]["stages"])


def test_the_page_changes_no_weight(tmp_path, monkeypatch, capsys):
    plain = train(VAE, blobs(), out=tmp_path / "plain", **SHORT)
    assert capsys.readouterr().err == ""
    watched = train(VAE, blobs(), out=tmp_path / "watched", watch_port=0, **SHORT)
    assert re.fullmatch(
        r"watch the training at http://127.0.0.1:\d+/#\S{16}\n", capsys.readouterr().err
    )
    first, second = (load_file(run.weights_path) for run in (plain, watched))
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_a_resumed_training_has_a_page(tmp_path, capsys):
    run = train(VAE, blobs(), out=tmp_path / "run", **SHORT)
    resume(run, blobs(), steps=8, quiet=True, watch_port=0)
    assert "watch the training at" in capsys.readouterr().err


def test_a_port_in_use_is_an_error_before_anything_is_loaded(tmp_path, capsys):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PinxitError, match=f"port {port} cannot be used"):
            train(VAE, "no-such-folder", out=tmp_path / "run", watch_port=port)
        args = ["train", "vae", "digits", "--steps", "2", "--watch-port", str(port)]
        assert main([*args, "-o", str(tmp_path / "run")]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "choose another, or 0 for a free one" in err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("port", [-1, 65_536, 1.5, "8001"])
def test_a_number_that_is_no_port_is_refused(port, tmp_path):
    with pytest.raises(UsageError, match="watch_port must be from 0 to 65535"):
        train(VAE, blobs(), out=tmp_path / "run", watch_port=port)
    assert not (tmp_path / "run").exists()


def test_the_command_names_its_option(tmp_path, capsys):
    args = ["train", "vae", "digits", "-o", str(tmp_path / "run"), "--watch-port"]
    assert main([*args, "70000"]) == 2
    assert "--watch-port must be from 0 to 65535, not 70000" in capsys.readouterr().err
    for page in (["train", "vae", "--help"], ["train", "--resume", "--help"]):
        assert main(page) == 0
        assert "--watch-port" in capsys.readouterr().out


def test_a_dry_run_has_no_page(tmp_path, capsys):
    args = ["train", "vae", "digits", "--steps", "2", "--width", "16", "--depth", "1", "--dry-run"]
    assert main([*args, "--watch-port", "0", "-o", str(tmp_path / "run")]) == 0
    err = capsys.readouterr().err
    assert "no page" in err
    assert "http://" not in err


def test_a_lock_that_is_only_looked_at_stops_no_training(tmp_path):
    run = Run(tmp_path)
    end = threading.Event()

    def look():
        while not end.is_set():
            is_locked(run)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        for _ in range(100):
            with lock_run(run):
                pass
    finally:
        end.set()
        thread.join()
    assert is_locked(run) is False


def test_public_names_have_the_port():
    assert "watch_port" in (pinxit.train.__doc__ or "")
    assert "watch_port" in (pinxit.resume.__doc__ or "")
