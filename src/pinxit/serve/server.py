"""Run a server: load the runs, bind the port, print the address, stop on a signal."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn

from pinxit.errors import UsageError
from pinxit.serve.app import AppSettings, create_app
from pinxit.serve.connections import TimedProtocol, bind_socket
from pinxit.serve.dialogue.llm import LanguageModel
from pinxit.serve.dialogue.response import answer_without_llm
from pinxit.serve.host_names import host_name
from pinxit.serve.inference.loading import LoadedRun, load_runs, load_served_run
from pinxit.serve.inference.pending import load_when_ready, split_pending
from pinxit.serve.inference.registry import ModelRegistry
from pinxit.serve.media.sources import ImageSources
from pinxit.serve.memory import release_large_blocks
from pinxit.serve.middleware import AccessRules, check_api_key
from pinxit.serve.store import Store

MAX_PORT = 65_535
SHUTDOWN_SECONDS = 20  # for requests in progress, after a signal


@dataclass(frozen=True)
class ServerOptions:
    """The options of `pinxit serve`."""

    host: str
    port: int
    store: str
    api_key: str | None = None
    aliases: dict[str, str] = field(default_factory=dict)
    store_days: float = 30.0
    store_max_mib: float = 1024.0
    max_queue: int = 256
    llm: str | None = None
    llm_model: str | None = None
    llm_api_key: str | None = None
    llm_sees_images: bool = False
    allow_host: tuple[str, ...] = ()
    allow_remote: tuple[str, ...] = ()
    allow_origin: tuple[str, ...] = ()
    device: str = "cpu"
    studio: bool = True
    public_url: str | None = None

    def __post_init__(self) -> None:
        check_api_key(self.api_key)
        if not 0 <= self.port <= MAX_PORT:
            raise UsageError(f"port must be from 0 to {MAX_PORT}, not {self.port}.")


def run_server(paths: Sequence[Path], options: ServerOptions) -> None:
    """Serve until a signal. Raises PinxitError for an invalid run or a port in use."""
    server, listener, models = create_server(paths, options, _print_run)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    _print_banner(models, options, listener.getsockname()[1])
    server.run(sockets=[listener])


def create_server(
    paths: Sequence[Path],
    options: ServerOptions,
    on_loaded: Callable[[LoadedRun], object] = lambda run: None,
) -> tuple[uvicorn.Server, socket.socket, ModelRegistry]:
    """Load the runs and return a server that listens on a socket already.

    Runs in training that have no weights yet are loaded later, and passed to `on_loaded`.
    Raises PinxitError for an invalid run or a port in use.
    """
    # a worker releases the interpreter at each operation, and by default waits up to 5 ms to get it
    # back from a busy event loop: while 429s were sent, it generated 5 images/s instead of 156
    sys.setswitchinterval(5e-4)
    release_large_blocks()
    listener = bind_socket(options.host, options.port)
    store = Store(options.store, options.store_days, options.store_max_mib)
    ready, pending = split_pending(paths)
    runs = load_runs(ready, options.device, options.max_queue)
    models = ModelRegistry(runs, options.aliases, pending)
    app = create_app(models, store, _app_settings(options))
    config = uvicorn.Config(
        app,
        http=TimedProtocol,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    listener.listen(2048)  # before the address is printed: clients may connect at once
    load = partial(load_served_run, device=options.device, max_queued_rows=options.max_queue)
    load_when_ready(models, load, on_loaded)
    return uvicorn.Server(config), listener, models


def default_store() -> str:
    """Return the SQLite file that keeps responses and files."""
    data_home = os.environ.get("XDG_DATA_HOME") or str(Path("~/.local/share").expanduser())
    return str(Path(data_home) / "pinxit" / "serve.sqlite")


def _app_settings(options: ServerOptions) -> AppSettings:
    hosts = (*AccessRules().hosts, options.host, *options.allow_host)
    origins = tuple(map(str.lower, options.allow_origin))
    if options.public_url is not None:  # its own page, whatever a proxy makes of the host's name
        parts = urlsplit(options.public_url.lower())
        hosts = (*hosts, parts.hostname or "")
        origins = (*origins, f"{parts.scheme}://{parts.netloc}")
    if host_name(options.host) in ("0.0.0.0", "::"):  # other machines may know this one by any name
        hosts = ("*",)
    answer = answer_without_llm
    if options.llm is not None:
        key = options.llm_api_key or LanguageModel.api_key
        llm = LanguageModel(options.llm, options.llm_model, key, options.llm_sees_images)
        answer = llm.answer
    return AppSettings(
        AccessRules(options.api_key, hosts, origins),
        ImageSources(options.allow_remote),
        answer,
        options.llm is not None,
        options.studio,
        options.public_url,
    )


def _print_banner(models: ModelRegistry, options: ServerOptions, port: int) -> None:
    """Print the runs, the two variables that OpenAI's clients read, and the address."""
    host = f"[{options.host}]" if ":" in options.host else options.host
    url = f"http://{host}:{port}"
    for run in models.runs.values():
        _print_run(run)
    for name in models.pending:
        print(f"{name}: in training, without weights yet")
    print(f"export OPENAI_BASE_URL={url}/v1")
    api_key = "not-needed" if options.api_key is None else "YOUR_KEY"
    print(f"export OPENAI_API_KEY={api_key}")
    print(url + ("/" if options.studio else "/v1"), flush=True)


def _print_run(run: LoadedRun) -> None:
    size = f"{run.info.width} x {run.info.height}"
    print(f"{run.name}: {run.run.family}, {size}; {', '.join(run.abilities)}", flush=True)
