"""A small local server that shows a training in this process, for `train --watch-port`.

On the standard library's http.server, in a thread: it needs no extra, ends with the training, and
has five routes. It reads the files that training writes, for whoever has the page open, so that a
training step waits for nothing.
"""

from __future__ import annotations

import hmac
import json
import secrets
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from pinxit.console import echo
from pinxit.errors import PinxitError, UsageError
from pinxit.watch.progress import read_sheet
from pinxit.watch.state import WatchedTraining

HOST = "127.0.0.1"
HOST_NAMES = ("127.0.0.1", "localhost", "[::1]")
MAX_PORT = 65_535
STATIC = Path(__file__).parent / "static"
MEDIA_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
PAGE = "watch.html"
SHUTDOWN_POLL_SECONDS = 0.1
REQUEST_SECONDS = 20.0  # for a client to send its request

SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def check_watch_port(port: int | None) -> None:
    """Raise UsageError for a number that is no port."""
    if port is not None and not (isinstance(port, int) and 0 <= port <= MAX_PORT):
        raise UsageError(f"watch_port must be from 0 to {MAX_PORT}, not {port}.")


def read_static_file(name: str) -> tuple[bytes, str] | None:
    """Return a file of the page and its media type; None for any other name."""
    file = next((file for file in STATIC.iterdir() if file.name == name), None)
    if file is None or file.suffix not in MEDIA_TYPES:
        return None
    return file.read_bytes(), f"{MEDIA_TYPES[file.suffix]}; charset=utf-8"


@contextmanager
def watch_training(
    port: int | None,
    *,
    can_stop: Callable[[], bool] = lambda: False,
    request_stop: Callable[[], bool] = lambda: False,
) -> Iterator[WatchedTraining]:
    """Serve a page about the training in this block, and print its address; None: no page.

    `can_stop` and `request_stop` connect the page's Stop button. Raises UsageError for a number
    that is no port, PinxitError if it is in use.
    """
    check_watch_port(port)
    training = WatchedTraining(can_stop, request_stop)
    if port is None:
        yield training
        return
    stop_key = secrets.token_urlsafe(12)
    server = _bind(port, partial(WatchHandler, training, stop_key))
    thread = threading.Thread(
        target=server.serve_forever, args=(SHUTDOWN_POLL_SECONDS,), name="watch", daemon=True
    )
    thread.start()
    # whoever has the printed address may stop; a fragment is never sent, nor logged
    echo(f"watch the training at http://{HOST}:{server.server_address[1]}/#{stop_key}")
    try:
        yield training
    except BaseException as error:
        training.end(error)
        raise
    else:
        training.end()
    finally:
        try:
            training.wait_for_pages()
        finally:
            server.shutdown()
            server.server_close()


def _bind(port: int, handler: Callable[..., BaseHTTPRequestHandler]) -> ThreadingHTTPServer:
    try:
        return _Server((HOST, port), handler)
    except PermissionError:
        raise PinxitError(
            f"port {port} needs privileges; choose one from 1024 on for the page that shows the "
            "training, or 0 for a free one."
        ) from None
    except OSError as error:
        raise PinxitError(
            f"port {port} cannot be used for the page that shows the training "
            f"({error.strerror}); choose another, or 0 for a free one."
        ) from None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing for a client that left; anything else is a fault of this program."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class WatchHandler(BaseHTTPRequestHandler):
    """The routes: the page, its files, the state, a sheet of samples, and Stop."""

    server_version = "pinxit"
    sys_version = ""
    timeout = REQUEST_SECONDS

    def __init__(self, training: WatchedTraining, stop_key: str, *args: Any) -> None:
        self.training, self.stop_key = training, stop_key
        super().__init__(*args)

    def do_GET(self) -> None:
        self.training.count_request(1)
        try:
            if self._is_allowed():
                self._answer_get()
        finally:
            self.training.count_request(-1)

    def do_POST(self) -> None:
        self.training.count_request(1)
        try:
            if self._is_allowed(needs_origin=True):
                self._answer_post()
        finally:
            self.training.count_request(-1)

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing: the terminal shows the training."""

    def _answer_get(self) -> None:
        url = urlsplit(self.path)
        fields = {name: values[-1] for name, values in parse_qs(url.query).items()}
        if url.path == "/":
            self._send_static(PAGE)
        elif url.path == "/data":
            self._send_json(self.training.wait_for_change(fields.get("after", "")))
        elif url.path == "/sheet":
            self._send_sheet(fields)
        elif url.path == "/favicon.ico":
            self._send(204, b"", "image/x-icon")
        elif url.path.startswith("/static/"):
            self._send_static(url.path.removeprefix("/static/"))
        else:
            self._send_error(404, "there is no such page.")

    def _answer_post(self) -> None:
        if self.path != "/stop":
            self._send_error(404, "there is no such page.")
        elif not hmac.compare_digest(
            self.headers.get("X-Stop-Key", "").encode("utf-8", "replace"), self.stop_key.encode()
        ):
            self._send_error(403, "only the address that training printed may stop it.")
        elif not self.training.stop():
            self._send_error(409, "no step runs at this moment; try again, or press Ctrl-C.")
        else:
            self._send_json({"is_stopping": True})

    def _is_allowed(self, needs_origin: bool = False) -> bool:
        """Refuse, with 403, other host names (DNS rebinding) and pages of other origins."""
        host = self.headers.get("Host", "").lower()
        origin = self.headers.get("Origin")
        site = self.headers.get("Sec-Fetch-Site", "none")
        is_link = self.headers.get("Sec-Fetch-Mode") == "navigate" and self.command == "GET"
        is_foreign = origin is not None and origin.lower() != f"http://{host}"
        is_foreign = is_foreign or (site in ("cross-site", "same-site") and not is_link)
        if _host_name(host) not in HOST_NAMES:
            self._send_error(403, "this host name is not that of this machine itself.")
        elif is_foreign or (origin is None and needs_origin):
            self._send_error(403, "only the page itself may do this.")
        else:
            return True
        return False

    def _send_static(self, name: str) -> None:
        found = read_static_file(name)
        if found is None:
            self._send_error(404, "there is no such file.")
        else:
            self._send(200, *found)

    def _send_sheet(self, fields: dict[str, str]) -> None:
        run, stage = self.training.run, fields.get("stage", "")
        content = None
        if run is not None and stage in ("1", "2"):
            content = read_sheet(run, int(stage), fields.get("name", ""))
        if content is None:
            self._send_error(404, "there is no such sheet.")
        else:
            self._send(200, content, "image/png")

    def _send_json(self, record: dict[str, Any], status: int = 200) -> None:
        content = json.dumps(record, allow_nan=False).encode()
        self._send(status, content, "application/json")

    def _send_error(self, status: int, message: str) -> None:
        self._send_json({"error": {"message": message[:1].upper() + message[1:]}}, status)

    def _send(self, status: int, content: bytes, media_type: str) -> None:
        self.send_response(status)
        for name, value in SECURITY_HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _host_name(host: str) -> str:
    """Return a Host header without its port."""
    return host if host.endswith("]") else host.rpartition(":")[0] or host
