"""Servers over tiny runs, their clients, and small images to send."""

from __future__ import annotations

import base64
import io
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from openai import OpenAI
from PIL import Image

from pinxit.serve.app import AppSettings, create_app
from pinxit.serve.connections import TimedProtocol
from pinxit.serve.inference.loading import load_runs, load_served_run
from pinxit.serve.inference.pending import load_when_ready, split_pending
from pinxit.serve.inference.registry import ModelRegistry
from pinxit.serve.store import Store

TOOLS = [{"type": "image_generation"}]


@contextmanager
def serving(runs, store, *, max_queued_rows=256, aliases=None, **settings) -> Iterator[str]:
    """The URL of a server in a thread of this process; `settings` are those of `AppSettings`."""
    ready, pending = split_pending(list(runs))
    models = ModelRegistry(load_runs(ready, "cpu", max_queued_rows), aliases, pending)
    load_when_ready(models, lambda path: load_served_run(path, "cpu", 64), check_seconds=0.05)
    app = create_app(models, Store(str(store)), AppSettings(**settings))
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(app, http=TimedProtocol, log_level="error", timeout_graceful_shutdown=2)
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)


def make_client(base_url: str, api_key: str = "not-needed") -> OpenAI:
    return OpenAI(base_url=f"{base_url}/v1", api_key=api_key, max_retries=0, timeout=60)


def wait_until(condition) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def make_png(size=(8, 8), mode="RGB", format="PNG") -> bytes:
    image = Image.new("RGB", size, (200, 180, 90))
    image.paste((40, 60, 200), (0, 0, size[0] // 2, size[1] // 2))
    with io.BytesIO() as file:
        image.convert(mode).save(file, format)
        return file.getvalue()


def make_mask(size=(8, 8), box=(0, 4, 8, 8)) -> bytes:
    """A mask that is transparent inside a box: these pixels are generated."""
    image = Image.new("RGBA", size, (0, 0, 0, 255))
    image.paste((0, 0, 0, 0), box)
    with io.BytesIO() as file:
        image.save(file, "PNG")
        return file.getvalue()


def data_url(content: bytes, media: str = "image/png") -> str:
    return f"data:{media};base64,{base64.b64encode(content).decode()}"


def decode_png(text: str) -> Image.Image:
    """The image of a base64 string, decoded."""
    image = Image.open(io.BytesIO(base64.b64decode(text, validate=True)))
    image.load()
    return image
