"""A small training in a thread, with its page, for the tests of this folder."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import pinxit
from pinxit.training.api import train
from tests.builders import blobs

VAE = pinxit.VAE(network="mlp", latent_dim=2, width=16, depth=1)
FLOW = pinxit.Flow(width=16, depth=1, heads=1, condition="none")
ENDLESS = {"steps": 1_000_000, "num_evals": 100_000, "checkpoint_seconds": 60, "tensorboard": False}


@dataclass
class TrainingThread:
    """What a training in a thread printed of its page, and how it ended."""

    out: Path
    address: str = ""
    error: BaseException | None = None
    thread: threading.Thread = field(default_factory=threading.Thread)

    @property
    def url(self) -> str:
        return self.address.partition("/#")[0]

    @property
    def stop_key(self) -> str:
        return self.address.partition("#")[2]

    def read(self, after: str = "") -> dict[str, Any]:
        return json.loads(get(f"{self.url}/data?after={after}")[1])

    def wait_for(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Return the first state for which a condition holds."""
        deadline = time.monotonic() + 60
        while not condition(state := self.read()):
            assert time.monotonic() < deadline, state
            assert self.thread.is_alive(), self.error
            time.sleep(0.02)
        return state

    def stop(self) -> int:
        return post(f"{self.url}/stop", self.url, self.stop_key)


@contextmanager
def train_in_thread(
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    model: Any = VAE,
    images: Any = None,
    **settings: Any,
) -> Iterator[TrainingThread]:
    """Train with a page at a free port; stops the training at the end of the block."""
    training, printed = TrainingThread(out), threading.Event()

    def echo(text: str) -> None:
        training.address = text.rpartition(" ")[2]
        printed.set()

    monkeypatch.setattr("pinxit.watch.server.echo", echo)

    def run() -> None:
        try:
            options = {**ENDLESS, **settings}
            data = blobs() if images is None else images
            train(model, data, out=out, quiet=True, watch_port=0, **options)
        except BaseException as error:
            training.error = error

    training.thread = threading.Thread(target=run, daemon=True)
    training.thread.start()
    assert printed.wait(60), training.error
    try:
        yield training
    finally:
        while training.thread.is_alive():
            with suppress(OSError):  # it has just ended
                training.stop()
            training.thread.join(0.1)


def get(url: str, **headers: str) -> tuple[int, bytes]:
    """The status and the body of a request."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return _send(urllib.request.Request(url, headers=named))


def post(url: str, origin: str | None, key: str | None) -> int:
    """The status of a POST of a page of an origin."""
    headers = {"Origin": origin, "X-Stop-Key": key}
    sent = {name: value for name, value in headers.items() if value is not None}
    return _send(urllib.request.Request(url, b"", sent))[0]


def _send(request: urllib.request.Request) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
