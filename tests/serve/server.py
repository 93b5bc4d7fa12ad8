"""A real server over tiny runs, for the tests of this folder."""

from __future__ import annotations

import base64
import io
import socket
import threading
import time
from contextlib import contextmanager

from PIL import Image


@contextmanager
def serving(runs, store, **how):
    """The address of a server in a thread of this process, ready to answer."""
    import uvicorn

    from pinxit.serve.app import ServerSettings, application
    from pinxit.serve.inference.registry import load
    from pinxit.serve.inference.router import Painters
    from pinxit.serve.store import Store

    waiting, aliases = how.pop("waiting", 256), how.pop("aliases", None)
    painters = Painters(load(list(runs), "cpu", waiting), aliases)
    app = application(painters, Store(str(store)), ServerSettings(**how))
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=2))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)


def client(base: str, key: str = "not-needed"):
    from openai import OpenAI

    return OpenAI(base_url=f"{base}/v1", api_key=key, max_retries=0, timeout=60)


def make_png(size=(8, 8), mode="RGB", kind="PNG") -> bytes:
    image = Image.new("RGB", size, (200, 180, 90))
    image.paste((40, 60, 200), (0, 0, size[0] // 2, size[1] // 2))
    with io.BytesIO() as file:
        image.convert(mode).save(file, kind)
        return file.getvalue()


def mask(size=(8, 8), box=(0, 4, 8, 8)) -> bytes:
    """Transparent in a box: what is to be painted anew."""
    image = Image.new("RGBA", size, (0, 0, 0, 255))
    image.paste((0, 0, 0, 0), box)
    with io.BytesIO() as file:
        image.save(file, "PNG")
        return file.getvalue()


def data_url(content: bytes, media: str = "image/png") -> str:
    return f"data:{media};base64,{base64.b64encode(content).decode()}"


def opened(text: str) -> Image.Image:
    image = Image.open(io.BytesIO(base64.b64decode(text, validate=True)))
    image.load()
    return image
