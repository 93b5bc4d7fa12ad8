"""Which web pages may use the server: its own, and those of origins that `--allow-origin` names.

A browser sends requests of any page to any server, and for forms and images asks nobody. So a
request of a foreign page is refused, whatever it asks for; a program sends no `Origin`.
"""

from __future__ import annotations

from collections.abc import Mapping

from starlette.types import Scope

from pinxit.serve.errors import ApiError, truncate

FOREIGN_SITES = ("cross-site", "same-site")
PREFLIGHT_SECONDS = 600  # that a browser keeps an answer to a preflight

# no inline script, no other host, no frame of another page; a run's report is a sandboxed frame
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
)

Headers = Mapping[bytes, bytes]
Pairs = list[tuple[bytes, bytes]]


def check_origin(scope: Scope, headers: Headers, allowed: tuple[str, ...]) -> None:
    """Raises ApiError (403) for the request of a foreign page that is not allowed.

    Following a link to a page is no request of the page that has it.
    """
    origin = headers.get(b"origin")
    if origin is None:
        is_foreign = headers.get(b"sec-fetch-site", b"").decode("latin-1") in FOREIGN_SITES
        is_link = headers.get(b"sec-fetch-mode") == b"navigate" and scope["method"] == "GET"
        if is_foreign and not is_link and "*" not in allowed:
            raise _origin_error("other sites")
        return
    if not _is_own(origin, headers) and not is_allowed(origin, allowed):
        raise _origin_error(truncate(origin.decode("latin-1")))


def _is_own(origin: bytes, headers: Headers) -> bool:
    _, separator, host = origin.partition(b"://")
    return bool(separator) and host.lower() == headers.get(b"host", b"").lower()


def is_allowed(origin: bytes, allowed: tuple[str, ...]) -> bool:
    """Return whether `--allow-origin` names an origin."""
    return "*" in allowed or origin.decode("latin-1").lower() in allowed


def is_preflight(scope: Scope, headers: Headers) -> bool:
    """Return whether a browser asks what a page of another origin may do."""
    asks = b"origin" in headers and b"access-control-request-method" in headers
    return asks and scope["method"] == "OPTIONS"


def cors_headers(headers: Headers, allowed: tuple[str, ...]) -> Pairs:
    """Return the headers that let an allowed page read an answer; none for other requests."""
    origin = headers.get(b"origin")
    if origin is None or _is_own(origin, headers) or not is_allowed(origin, allowed):
        return []
    return [
        (b"access-control-allow-origin", origin),
        (b"access-control-expose-headers", b"x-request-id, retry-after"),
        (b"vary", b"origin"),
    ]


def preflight_headers(headers: Headers) -> Pairs:
    """Return what an allowed page may do: everything that it asks for."""
    return [
        (b"access-control-allow-methods", b"GET, HEAD, POST, DELETE"),
        (b"access-control-allow-headers", headers.get(b"access-control-request-headers", b"*")),
        (b"access-control-max-age", str(PREFLIGHT_SECONDS).encode()),
    ]


def _origin_error(origin: str) -> ApiError:
    return ApiError(f"Pages of {origin} may not use this server (see --allow-origin).", status=403)
