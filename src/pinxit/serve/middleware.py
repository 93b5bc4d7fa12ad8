"""ASGI middleware around all routes: request id, host name, API key, body size, log, metrics.

A request that fails one of the checks never reaches a route.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import secrets
import time
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pinxit.errors import UsageError
from pinxit.serve import links
from pinxit.serve.connections import BODY_SECONDS, MAX_BODY_SECONDS
from pinxit.serve.errors import ApiError, RequestTooLarge, internal_error
from pinxit.serve.host_names import host_name
from pinxit.serve.logs import log_fault
from pinxit.serve.metrics import Metrics
from pinxit.serve.origins import (
    CONTENT_SECURITY_POLICY,
    check_origin,
    cors_headers,
    is_preflight,
    preflight_headers,
)

log = logging.getLogger("pinxit.serve")

MAX_BODY_BYTES = 64 * 2**20
# paths that need no key; the studio page prompts for it
PUBLIC_PATHS = ("/healthz", "/readyz", "/health", "/", "/favicon.ico", "/docs", "/openapi.json")
PUBLIC_PREFIXES = ("/studio/static/", links.PREFIX)
# routes of metrics and log lines; every other path is "other"
ROUTES = ("/v1/responses", "/v1/images", "/v1/models", "/v1/files", "/v1/chat", "/v1/embeddings")

SECURITY_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
]

Headers = dict[bytes, bytes]


@dataclass(frozen=True)
class AccessRules:
    """The API key, the host names and the body size that requests must satisfy."""

    api_key: str | None = None
    hosts: tuple[str, ...] = ("127.0.0.1", "localhost", "[::1]")
    origins: tuple[str, ...] = ()  # of other pages that may use the server; "*": any
    max_body_bytes: int = MAX_BODY_BYTES

    def __post_init__(self) -> None:
        check_api_key(self.api_key)


def check_api_key(key: str | None) -> None:
    """Raise UsageError for a blank key: requests without one would be authorised by it."""
    if key is not None and not key.strip():
        raise UsageError("the API key is blank: choose another one.")


class RequestMiddleware:
    """Checks each request, adds `x-request-id`, logs it, and turns exceptions into JSON errors."""

    def __init__(self, app: ASGIApp, rules: AccessRules, metrics: Metrics) -> None:
        self.app, self.rules, self.metrics = app, rules, metrics
        self._hosts = frozenset(map(host_name, rules.hosts))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, request_id = time.perf_counter(), "req_" + secrets.token_hex(12)
        status, num_bytes, is_complete = 0, 0, False
        headers: Headers = {name.lower(): value for name, value in scope["headers"]}
        is_head = scope["method"] == "HEAD"  # answered as GET is, without the body

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                extra = [(b"x-request-id", request_id.encode()), *SECURITY_HEADERS]
                extra += cors_headers(headers, self.rules.origins)
                message = {**message, "headers": [*message["headers"], *extra]}
            elif is_head:
                message = {**message, "body": b""}
            await send(message)

        async def receive_limited() -> Message:
            nonlocal num_bytes, is_complete
            try:  # after the body it waits for the client to leave
                left = min(BODY_SECONDS, start + MAX_BODY_SECONDS - time.perf_counter())
                message = await asyncio.wait_for(receive(), None if is_complete else left)
            except TimeoutError:
                raise ApiError("The body did not arrive in time.", status=408) from None
            is_complete = not message.get("more_body", False)
            num_bytes += len(message.get("body", b""))
            if num_bytes > self.rules.max_body_bytes:
                raise RequestTooLarge(self.rules.max_body_bytes)
            return message

        self.metrics.running.inc()
        try:
            self._check_access(scope, headers)
            if is_preflight(scope, headers):
                await _send_empty(send_with_id, preflight_headers(headers))
                return
            inner = {**scope, "method": "GET"} if is_head else scope
            await self.app(inner, receive_limited, send_with_id)
        except Exception as error:
            if not isinstance(error, ApiError):
                # types and places of exceptions stay in the log
                log_fault(f"request {request_id}", error)
                error = internal_error()
            if status == 0:  # no response has been started
                has_body = b"content-length" in headers or b"transfer-encoding" in headers
                if has_body and not is_complete:  # nobody will read it
                    error.headers["Connection"] = "close"
                await _send_error(send_with_id, error)
        finally:
            self.metrics.running.dec()
            self._log_request(scope, request_id, status, time.perf_counter() - start)

    def _check_access(self, scope: Scope, headers: Headers) -> None:
        """Check host, origin, key and announced body size. Raises ApiError: 403, 401, 413."""
        name = host_name(headers.get(b"host", b"").decode("latin-1"))
        if "*" not in self._hosts and name not in self._hosts:
            raise ApiError("This host name is not allowed (see --allow-host).", status=403)
        if not scope["path"].startswith(links.PREFIX):  # whoever has the link may show the image
            check_origin(scope, headers, self.rules.origins)
        needs_key = not _is_public(scope["path"]) and not is_preflight(scope, headers)
        if needs_key and not self._has_key(headers):
            raise ApiError(
                "The API key is missing or invalid.",
                status=401,
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length[:20]) > self.rules.max_body_bytes:
            raise RequestTooLarge(self.rules.max_body_bytes)

    def _has_key(self, headers: Headers) -> bool:
        if self.rules.api_key is None:
            return True
        scheme, _, key = headers.get(b"authorization", b"").partition(b" ")
        key = key.strip()
        is_equal = hmac.compare_digest(key, self.rules.api_key.encode())
        return bool(key) and is_equal and scheme.lower() == b"bearer"

    def _log_request(self, scope: Scope, request_id: str, status: int, seconds: float) -> None:
        """Count the request and log one line of JSON, without keys, prompts or images."""
        route = next((prefix for prefix in ROUTES if scope["path"].startswith(prefix)), "other")
        self.metrics.requests.labels(route, status).inc()
        self.metrics.seconds.labels(route).observe(seconds)
        if log.isEnabledFor(logging.INFO):
            record = {
                "request_id": request_id,
                "method": scope["method"],
                "route": route,
                "status": status,
                "duration_ms": round(1000 * seconds, 1),
            }
            log.info("%s", json.dumps(record))


def _is_public(path: str) -> bool:
    return path in PUBLIC_PATHS or path.startswith(PUBLIC_PREFIXES)


async def _send_empty(send: Send, headers: list[tuple[bytes, bytes]]) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


async def _send_error(send: Send, error: ApiError) -> None:
    body = json.dumps(error.body).encode()
    headers = {
        "content-type": "application/json",
        "content-length": str(len(body)),
        **error.headers,
    }
    pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": error.status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
