"""A server that runs beside the cells of a notebook."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pinxit.errors import PinxitError, UsageError
from pinxit.extras import require_extra

if TYPE_CHECKING:
    import uvicorn

    from pinxit.serve.server import ServerOptions

LOOPBACK = ("127.0.0.1", "localhost", "::1")
STOP_SECONDS = 30.0


@dataclass(frozen=True)
class Server:
    """A running server. `close` ends it; in a `with` block that is done at its end."""

    url: str
    names: tuple[str, ...]  # of the models
    _server: uvicorn.Server
    _thread: threading.Thread

    @property
    def base_url(self) -> str:
        """The address that clients of OpenAI's API take: `OpenAI(base_url=server.base_url)`."""
        return f"{self.url}/v1"

    def close(self) -> None:
        """End the server after the requests in progress."""
        self._server.should_exit = True
        self._thread.join(STOP_SECONDS)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "" if self._thread.is_alive() else ", closed"
        return f"Server({self.url}: {', '.join(self.names)}{state})"

    def _repr_html_(self) -> str:
        return f'<a href="{self.url}" target="_blank">{self.url}</a>: {", ".join(self.names)}'


def start_server(
    paths: Sequence[Path], *, host: str, port: int, api_key: str | None, **options: Any
) -> Server:
    """Serve runs in a thread, and return once the server answers.

    `options` are fields of `pinxit.serve.server.ServerOptions`. Raises UsageError for an unknown
    one, for a value of another type and for another machine's access without a key, PinxitError if
    the port is in use. The keys are by default PINXIT_API_KEY and PINXIT_LLM_API_KEY, if set.
    """
    api_key = api_key or os.environ.get("PINXIT_API_KEY") or None
    if host not in LOOPBACK and api_key is None:
        raise UsageError(f"other machines can reach {host}: set api_key.")
    require_extra("serve", "serving")
    from pinxit.serve.server import create_server, default_store

    settings = {"host": host, "port": port, "api_key": api_key, "store": default_store()}
    options["llm_api_key"] = (
        options.get("llm_api_key") or os.environ.get("PINXIT_LLM_API_KEY") or None
    )
    server, listener, models = create_server(paths, _make_options(settings | options))
    thread = threading.Thread(
        target=server.run, kwargs={"sockets": [listener]}, name="pinxit-server", daemon=True
    )
    thread.start()
    name = f"[{host}]" if ":" in host else host
    url = f"http://{name}:{listener.getsockname()[1]}"
    return Server(url, tuple(models.runs), server, thread)


def _make_options(settings: dict[str, Any]) -> ServerOptions:
    """Raises UsageError for an unknown option, and for a value of another type."""
    from pinxit.models.config import config_from_dict
    from pinxit.serve.server import ServerOptions

    aliases = settings.get("aliases", {})
    if not isinstance(aliases, Mapping):
        raise UsageError(f"aliases is a dict of runs by further names, not {aliases!r}.")
    try:
        return config_from_dict(ServerOptions, settings)
    except UsageError:
        raise
    except PinxitError as error:
        raise UsageError(f"serve: {str(error).partition(' is damaged: ')[2]}") from None
