"""What every request passes: its number, its host, its key, its size; and what is noted of it."""

from __future__ import annotations

import hmac
import json
import logging
import secrets
import time
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pinxit.serve.errors import error_body
from pinxit.serve.metrics import Figures

log = logging.getLogger("pinxit.serve")

MOST_BODY = 64 * 2**20  # bytes of a request
# paths that need no key: the page asks for one itself
OPEN = (
    "/healthz",
    "/readyz",
    "/health",
    "/",
    "/favicon.ico",
    "/studio/page.js",
    "/studio/page.css",
)
ROUTES = ("/v1/responses", "/v1/images", "/v1/models", "/v1/files", "/v1/chat", "/v1/embeddings")


@dataclass(frozen=True)
class Rules:
    """Who may ask."""

    key: str | None = None
    hosts: tuple[str, ...] = ("127.0.0.1", "localhost", "[::1]", "testserver")
    most_body: int = MOST_BODY


class Gate:
    """ASGI middleware. What it refuses never reaches a route."""

    def __init__(self, app: ASGIApp, rules: Rules, figures: Figures) -> None:
        self.app, self.rules, self.figures = app, rules, figures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, number = time.perf_counter(), "req_" + secrets.token_hex(12)
        headers = {name.lower(): value for name, value in scope["headers"]}
        status, read = 0, 0
        large = False

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = [(b"x-request-id", number.encode()), (b"x-content-type-options", b"nosniff")]
                message = {**message, "headers": [*message["headers"], *own]}
            await send(message)

        async def receiving() -> Message:
            nonlocal read, large
            message = await receive()
            read += len(message.get("body", b""))
            if read > self.rules.most_body:
                large = True
                raise _TooLarge
            return message

        self.figures.running.inc()
        try:
            refusal = self._refusal(scope, headers)
            if refusal is not None:
                await _answer(sending, *refusal)
            else:
                await self.app(scope, receiving, sending)
        except _TooLarge:
            await _answer(sending, 413, "the request is too large.", None, {})
        except Exception as error:
            # a path or a trace stays in the log
            log.exception("request %s failed: %s", number, type(error).__name__)
            if status == 0:
                message = "this should not have happened; the server's log says more."
                await _answer(sending, 500, message, None, {"x-should-retry": "false"})
        finally:
            self.figures.running.dec()
            self._noted(scope, number, status, time.perf_counter() - began)

    def _refusal(
        self, scope: Scope, headers: dict[bytes, bytes]
    ) -> tuple[int, str, str | None, dict[str, str]] | None:
        host = headers.get(b"host", b"").decode("latin-1").lower()
        name = host if host.endswith("]") else host.rsplit(":", 1)[0]
        if "*" not in self.rules.hosts and name not in self.rules.hosts:
            return 403, "this host name is not served here (see --allow-host).", None, {}
        if self.rules.key is not None and scope["path"] not in OPEN and not self._known(headers):
            told = {"WWW-Authenticate": "Bearer"}
            return 401, "the API key is missing or wrong.", "invalid_api_key", told
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length[:20]) > self.rules.most_body:
            return 413, "the request is too large.", None, {"Connection": "close"}
        return None

    def _known(self, headers: dict[bytes, bytes]) -> bool:
        assert self.rules.key is not None
        scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
        right = hmac.compare_digest(given.strip(), self.rules.key.encode())
        return right and scheme.lower() == b"bearer"

    def _noted(self, scope: Scope, number: str, status: int, seconds: float) -> None:
        """One line of JSON a request: no key, no words, no image."""
        path = scope["path"]
        route = next((one for one in ROUTES if path.startswith(one)), "other")
        self.figures.requests.labels(route, status).inc()
        self.figures.seconds.labels(route).observe(seconds)
        if log.isEnabledFor(logging.INFO):
            record = {
                "request": number,
                "method": scope["method"],
                "route": route,
                "status": status,
                "ms": round(1000 * seconds, 1),
            }
            log.info("%s", json.dumps(record))


class _TooLarge(Exception):
    pass


async def _answer(
    send: Send, status: int, message: str, code: str | None, headers: dict[str, str]
) -> None:
    body = json.dumps(error_body(status, message, None, code)).encode()
    told = {"content-type": "application/json", "content-length": str(len(body)), **headers}
    pairs = [(name.lower().encode(), value.encode()) for name, value in told.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
