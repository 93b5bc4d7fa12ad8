"""A server's life: runs loaded, a port taken, said where, stopped in order."""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn

from pinxit.errors import PinxitError
from pinxit.serve.app import ServerSettings, application
from pinxit.serve.dialogue.llm import LanguageModel
from pinxit.serve.dialogue.response import plain
from pinxit.serve.inference.registry import load
from pinxit.serve.inference.router import Painters
from pinxit.serve.media.sources import Sources
from pinxit.serve.middleware import Rules
from pinxit.serve.store import Store

GRACE = 20  # seconds that what runs may take to end after a signal


@dataclass(frozen=True)
class Wishes:
    """What the command line was told."""

    host: str
    port: int
    store: str
    key: str | None = None
    aliases: dict[str, str] = field(default_factory=dict)
    days: float = 30.0
    mebibytes: float = 1024.0
    waiting: int = 256
    llm: str | None = None
    llm_model: str | None = None
    hosts: tuple[str, ...] = ()
    remote: tuple[str, ...] = ()
    device: str = "cpu"
    studio: bool = True


def run(paths: Sequence[Path], wishes: Wishes) -> None:
    """Serve until a signal. Raises PinxitError for a run that cannot be loaded, a port taken."""
    # a worker gives up the interpreter at each operation, and by Python's own 5 ms waits as long to
    # have it back from a busy event loop: under a flood of refusals it painted 5 images/s of 156
    sys.setswitchinterval(5e-4)
    listening = _listening(wishes.host, wishes.port)
    store = Store(wishes.store, wishes.days, wishes.mebibytes)
    painters = Painters(load(paths, wishes.device, wishes.waiting), wishes.aliases)
    hosts = (*Rules().hosts, wishes.host, *wishes.hosts)
    if wishes.host in ("0.0.0.0", "::"):  # whatever name the machine is asked by
        hosts = ("*",)
    settings = ServerSettings(
        Rules(wishes.key, hosts),
        Sources(wishes.remote),
        plain if wishes.llm is None else LanguageModel(wishes.llm, wishes.llm_model).answer,
        wishes.studio,
    )
    app = application(painters, store, settings)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, timeout_graceful_shutdown=GRACE
    )
    listening.listen(2048)  # whoever reads the address may ask at once
    _said(painters, wishes, listening.getsockname()[1])
    uvicorn.Server(config).run(sockets=[listening])


def _listening(host: str, port: int) -> socket.socket:
    kind = socket.AF_INET6 if ":" in host else socket.AF_INET
    # named TCP: else asyncio leaves Nagle's delay on, and a request waits 40 ms for its answer
    listening = socket.socket(kind, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        raise PinxitError(f"cannot listen on {host}:{port}: {error.strerror}.") from None
    return listening


def _said(painters: Painters, wishes: Wishes, port: int) -> None:
    host = f"[{wishes.host}]" if ":" in wishes.host else wishes.host
    base = f"http://{host}:{port}"
    for one in painters.served.values():
        size = f"{one.info.width} x {one.info.height}"
        print(f"{one.name}: {one.run.family}, {size}, can {', '.join(one.abilities)}")
    print(f"export OPENAI_BASE_URL={base}/v1")
    key = "not-needed" if wishes.key is None else "(your key)"
    print(f"export OPENAI_API_KEY={key}")
    print(base + ("/" if wishes.studio else "/v1"), flush=True)
