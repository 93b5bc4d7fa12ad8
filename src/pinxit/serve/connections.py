"""Connections with deadlines: a client that sends half a request does not hold a place for long."""

from __future__ import annotations

import asyncio
import socket
from typing import ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from pinxit.errors import PinxitError

HEADER_SECONDS = 20.0  # from the connection, or the first byte of a next request, to all headers
BODY_SECONDS = 60.0  # between two parts of a body
MAX_BODY_SECONDS = 600.0  # of a whole body
# connections whose headers have not come; above it the oldest is closed, if it has had its time
MAX_UNFINISHED = 200
GRACE_SECONDS = 1.0  # the server may not have read yet what many clients sent at once
MAX_BURST = 800  # above it the oldest is closed at once: a process may open 1,024 files


class TimedProtocol(HttpToolsProtocol):
    """HTTP of uvicorn, with a deadline for headers and a bound on those who have sent none.

    Half requests cost their senders nothing. A finished one leaves the waiting set at once, so that
    closing the oldest of many hits those who never finish.
    """

    # the times of their coming, the oldest first
    unfinished: ClassVar[dict[TimedProtocol, float]] = {}
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait_for_headers()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        is_idle = self.cycle is None or self.cycle.response_complete
        if is_idle and self._deadline is None and not self.transport.is_closing():
            self._wait_for_headers()  # uvicorn ends its own wait at any byte

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._deadline is None:  # a next request on the connection
            self._wait_for_headers()

    def on_headers_complete(self) -> None:
        self._stop_waiting()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait_for_headers(self) -> None:
        self._deadline = self.loop.call_later(HEADER_SECONDS, self._close)
        self.unfinished[self] = now = self.loop.time()
        oldest, since = next(iter(self.unfinished.items()))
        num_unfinished = len(self.unfinished)
        has_had_time = now - since > GRACE_SECONDS
        if num_unfinished > MAX_BURST or (num_unfinished > MAX_UNFINISHED and has_had_time):
            oldest._close()

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        self.unfinished.pop(self, None)

    def _close(self) -> None:
        self._stop_waiting()
        self.transport.close()


def bind_socket(host: str, port: int) -> socket.socket:
    """Return a socket at an address. Raises PinxitError for a port in use."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # with IPPROTO_TCP asyncio turns Nagle's algorithm off, which delays each response by 40 ms
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        raise PinxitError(f"cannot listen on {host}:{port}: {error.strerror}.") from None
    return listener
