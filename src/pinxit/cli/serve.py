"""`pinxit serve` and `pinxit mcp`: use finished runs from other programs."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from pinxit.cli.common import Flag, check_at_least
from pinxit.errors import UsageError
from pinxit.extras import require_extra
from pinxit.nn.device import Device, resolve_device

Runs = Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN ...")]
LOOPBACK = ("127.0.0.1", "localhost", "::1")
MAX_PORT = 65_535


def serve(
    runs: Runs,
    host: str = "127.0.0.1",
    port: int = 8000,
    api_key: str | None = None,
    allow_no_auth: Flag = False,
    alias: tuple[str, ...] = (),
    store: str | None = None,
    store_days: float = 30.0,
    store_max_mib: float = 1024.0,
    max_queue: int = 256,
    llm: str | None = None,
    llm_model: str | None = None,
    llm_sees_images: Flag = False,
    allow_host: tuple[str, ...] = (),
    allow_remote: tuple[str, ...] = (),
    allow_origin: tuple[str, ...] = (),
    device: Device = "auto",
    studio: bool = True,
    public_url: str | None = None,
) -> None:
    """Serve runs through the OpenAI API, with a web page to try them.

    Examples:
        pinxit serve runs/digits-vae runs/shapes-draw
        pinxit serve runs/shapes-draw --port 9000 --alias dall-e-3=shapes-draw

    Args:
        runs: folders of runs, finished or in training
        host: address to listen on; 0.0.0.0 for other machines
        port: port to listen on; 0 chooses a free one
        api_key: key that requests must send (default: PINXIT_API_KEY, if set)
        allow_no_auth: serve other machines without an API key
        alias: further model names, as NAME=RUN
        store: stores responses and files: a SQLite file, or a database URL such as
            postgresql://... (default: ~/.local/share/pinxit/serve.sqlite)
        store_days: delete responses and files after this many days; inf: never
        store_max_mib: delete the oldest responses and files above this size; inf: no bound
        max_queue: images that may wait for one model; further requests get status 429
        llm: URL of an OpenAI-compatible language model that answers and calls the runs as tools;
            PINXIT_LLM_API_KEY is its key
        llm_model: its model name (default: the first that it lists)
        llm_sees_images: it takes images; without, it knows them by their captions
        allow_host: further host names of this server
        allow_origin: origins of other web pages that may use the server, such as
            https://app.example; * allows every page to
        allow_remote: hosts from which requests may load images (default: none)
        device: where to compute; auto is cuda if there is a GPU, or else cpu
        studio: serve the page at /
        public_url: address of this server as clients know it, behind a proxy; links to images
            start with it
    """
    _check_runs(runs, "serve")
    _check_port(port)
    check_at_least(1, max_queue, "--max-queue")
    _check_llm(llm, llm_model, llm_sees_images)
    _check_hosts("--allow-host", allow_host)
    _check_hosts("--allow-remote", allow_remote)
    api_key = api_key or os.environ.get("PINXIT_API_KEY") or None
    if host.lower() not in LOOPBACK and api_key is None and not allow_no_auth:
        raise UsageError(
            f"other machines can reach {host}: set --api-key, or pass --allow-no-auth."
        )
    require_extra("serve", "pinxit serve")
    if store and store.startswith("postgres"):
        require_extra("postgres", f"--store {store.partition(':')[0]}")
    from pinxit.serve.server import ServerOptions, default_store, run_server

    options = ServerOptions(
        host=host,
        port=port,
        api_key=api_key,
        aliases=_parse_aliases(alias),
        store=store or default_store(),
        store_days=store_days,
        store_max_mib=store_max_mib,
        max_queue=max_queue,
        llm=llm,
        llm_model=llm_model,
        llm_api_key=os.environ.get("PINXIT_LLM_API_KEY") or None,
        llm_sees_images=llm_sees_images,
        allow_host=allow_host,
        allow_remote=allow_remote,
        allow_origin=_parse_origins(allow_origin),
        device=resolve_device(device),
        studio=studio,
        public_url=_parse_public_url(public_url),
    )
    run_server(runs, options)


def mcp(
    runs: Runs,
    http: Flag = False,
    host: str | None = None,
    port: int | None = None,
    device: Device = "auto",
) -> None:
    """Offer runs as tools of the Model Context Protocol, for assistants and editors.

    Examples:
        pinxit mcp runs/digits-vae
        pinxit mcp runs/shapes-draw --http --port 8001

    Args:
        runs: folders of finished runs
        http: use HTTP instead of standard input and output
        host: address to listen on, with --http; None: 127.0.0.1
        port: port to listen on, with --http; 0 chooses a free one; None: 8001
        device: where to compute; auto is cuda if there is a GPU, or else cpu
    """
    _check_runs(runs, "mcp")
    if not http and (host is not None or port is not None):
        given = "--host" if port is None else "--port"
        raise UsageError(f"{given} needs --http: without it, mcp uses standard input and output.")
    host, port = (host or "127.0.0.1").lower(), _check_port(8001 if port is None else port)
    if host not in LOOPBACK:
        raise UsageError(
            f"other machines can reach {host}, and pinxit mcp has no API key; use pinxit serve."
        )
    require_extra("serve", "pinxit mcp")
    from pinxit.serve.mcp_server import run_mcp_server

    run_mcp_server(runs, http=http, host=host, port=port, device=resolve_device(device))


def _check_runs(runs: tuple[Path, ...], command: str) -> None:
    """Raise UsageError for a folder that is not a run, before torch is imported."""
    if not runs:
        raise UsageError(f"no run given: pinxit {command} RUN [RUN ...]")
    from pinxit.runs import Run

    for run in runs:
        Run(run).check()


def _check_port(port: int) -> int:
    if not 0 <= port <= MAX_PORT:
        raise UsageError(f"--port must be from 0 to {MAX_PORT}, not {port}.")
    return port


def _check_llm(llm: str | None, llm_model: str | None, llm_sees_images: bool) -> None:
    """Raises UsageError for an invalid URL, and for options of a model that is not named."""
    if llm is None:
        given = "--llm-model" if llm_model is not None else "--llm-sees-images"
        if llm_model is not None or llm_sees_images:
            raise UsageError(f"{given} needs --llm, the URL of a language model.")
    elif not re.fullmatch(r"https?://[^\s/?#]+[^\s?#]*", llm):
        raise UsageError(f"--llm {llm}: give an address such as http://127.0.0.1:8080/v1.")


def _check_hosts(flag: str, hosts: tuple[str, ...]) -> None:
    for host in hosts:
        if not re.fullmatch(r"[^\s/?#@]+", host):
            raise UsageError(f"{flag} {host}: give a host's name or address, without a scheme.")


def _parse_origins(origins: tuple[str, ...]) -> tuple[str, ...]:
    """Raises UsageError for anything but a scheme and a host: a browser sends no path."""
    for origin in origins:
        if origin != "*" and not re.fullmatch(r"https?://[^/\s]+", origin):
            raise UsageError(
                f"--allow-origin {origin}: an origin is a scheme and a host, such as "
                "https://app.example, without a path."
            )
    return origins


def _parse_public_url(url: str | None) -> str | None:
    """Raises UsageError for anything but the address of a server."""
    if url is not None and not re.fullmatch(r"https?://[^\s?#]+", url):
        raise UsageError(f"--public-url {url}: give an address such as https://images.example.")
    return url


def _parse_aliases(texts: tuple[str, ...]) -> dict[str, str]:
    aliases = {}
    for text in texts:
        name, _, run = text.partition("=")
        if not (name and run):
            raise UsageError(f"--alias must be NAME=RUN, not '{text}'.")
        aliases[name] = run
    return aliases
