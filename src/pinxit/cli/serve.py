"""`pinxit serve` and `pinxit mcp`: finished runs for other programs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import tyro

from pinxit.cli.common import check_at_least
from pinxit.errors import PinxitError, UsageError

Runs = Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN ...")]
Flag = tyro.conf.FlagCreatePairsOff
LOCAL = ("127.0.0.1", "localhost", "::1")


def serve(
    runs: Runs,
    host: str = "127.0.0.1",
    port: int = 8000,
    api_key: str | None = None,
    insist: Annotated[bool, Flag] = False,
    alias: tuple[str, ...] = (),
    store: str | None = None,
    store_days: float = 30.0,
    store_mebibytes: float = 1024.0,
    waiting: int = 256,
    llm: str | None = None,
    llm_model: str | None = None,
    allow_host: tuple[str, ...] = (),
    allow_remote: tuple[str, ...] = (),
    device: str = "cpu",
    studio: bool = True,
) -> None:
    """Finished runs behind the OpenAI API, and a page to play with them.

    Args:
        runs: folders of finished runs
        host: address to listen on
        port: to listen on; 0 takes a free one
        api_key: that requests must bring; else PINXIT_API_KEY, if it is set
        insist: listen elsewhere than on this machine without a key
        alias: other names, as my-model=RUN
        store: a SQLite file, or the URL of a database (postgresql://...); else
            ~/.local/share/pinxit/serve.sqlite
        store_days: what is older is deleted
        store_mebibytes: what is oldest is deleted above this size
        waiting: images that may wait for one model; more are answered 429
        llm: URL of an OpenAI-compatible language model that talks and calls the runs as tools
        llm_model: its name there; the first that it lists unless given
        allow_host: other names by which this server may be asked
        allow_remote: hosts of images that may be fetched; else none
        device: cpu, cuda, ...
        studio: the page at /
    """
    _checked(runs)
    check_at_least(1, waiting, "images that may wait")
    key = api_key or os.environ.get("PINXIT_API_KEY") or None
    if host not in LOCAL and key is None and not insist:
        raise UsageError(
            f"{host} is reached from other machines: give an --api-key, or --insist on none."
        )
    _installed()
    from pinxit.serve.server import Wishes, run

    run(
        runs,
        Wishes(
            host=host,
            port=port,
            key=key,
            aliases=_pairs(alias),
            store=store or _default_store(),
            days=store_days,
            mebibytes=store_mebibytes,
            waiting=waiting,
            llm=llm,
            llm_model=llm_model,
            hosts=allow_host,
            remote=allow_remote,
            device=device,
            studio=studio,
        ),
    )


def mcp(
    runs: Runs,
    http: Annotated[bool, Flag] = False,
    host: str = "127.0.0.1",
    port: int = 8001,
    device: str = "cpu",
) -> None:
    """The abilities of runs as tools of the Model Context Protocol.

    Args:
        runs: folders of finished runs
        http: by HTTP rather than by standard input and output
        host: address to listen on, with --http
        port: to listen on, with --http
        device: cpu, cuda, ...
    """
    _checked(runs)
    if http and host not in LOCAL:
        raise UsageError(f"{host} is reached from other machines, and this has no key: use serve.")
    _installed()
    from pinxit.serve.mcp_server import run

    run(runs, http=http, host=host, port=port, device=device)


def _checked(runs: tuple[Path, ...]) -> None:
    if not runs:
        raise UsageError("which runs? pinxit serve RUN [RUN ...]")
    from pinxit.runs import Run

    for run in runs:
        Run(run).config  # noqa: B018 (a folder that is no run says so before torch is imported)


def _pairs(texts: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for text in texts:
        name, sign, run = text.partition("=")
        if not (name and sign and run):
            raise UsageError(f"an alias is NAME=RUN, not '{text}'.")
        found[name] = run
    return found


def _default_store() -> str:
    home = os.environ.get("XDG_DATA_HOME") or str(Path("~/.local/share").expanduser())
    return str(Path(home) / "pinxit" / "serve.sqlite")


def _installed() -> None:
    """PinxitError where the server's libraries are not there."""
    import importlib.util

    for name in ("fastapi", "uvicorn", "sqlalchemy", "prometheus_client", "mcp", "httpx"):
        if importlib.util.find_spec(name) is None:
            raise PinxitError(
                f"serving needs '{name}': pip install 'pinxit[serve]' brings all it needs."
            )
