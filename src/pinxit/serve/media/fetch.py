"""Images from elsewhere: refused unless their host is on a list, and never from a private one."""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
from urllib.parse import urljoin, urlsplit

from pinxit.serve.errors import Refusal, short
from pinxit.serve.media.uploads import MOST_BYTES

SECONDS = 10.0
TURNS = 3  # redirections that are followed


def fetched(url: str, allowed: tuple[str, ...], param: str) -> bytes:
    """The bytes at a URL. Raises Refusal where its host is not allowed or not public."""
    for _ in range(TURNS + 1):
        answer = _asked(url, allowed, param)
        if isinstance(answer, bytes):
            return answer
        url = answer
    raise _refused("it leads from one place to another", url, param)


def _refused(why: str, url: str, param: str) -> Refusal:
    return Refusal(
        f"the image at '{short(url)}' is not fetched: {why}.",
        param=param,
        code="invalid_image_url",
    )


def _asked(url: str, allowed: tuple[str, ...], param: str) -> bytes | str:
    """What is there, or where it is to be found instead."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise _refused("this is no URL", url, param) from None
    if parts.scheme not in ("http", "https") or parts.username is not None:
        raise _refused("this is no plain http(s) URL", url, param)
    if host not in allowed and "*" not in allowed:
        raise _refused("remote images are off (see --allow-remote)", url, param)
    address = _public(host, url, param)
    try:
        return _read(parts.scheme, host, address, port, url, param)
    except (OSError, http.client.HTTPException):
        raise Refusal(
            f"the image at '{short(url)}' could not be fetched.",
            param=param,
            code="failed_to_download_image",
        ) from None


def _public(host: str, url: str, param: str) -> str:
    """The host's address, resolved once: all that it has must be public."""
    try:
        found = {info[4][0] for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        raise _refused("its host is not known", url, param) from None
    for text in found:
        address = ipaddress.ip_address(str(text).split("%")[0])
        mapped = getattr(address, "ipv4_mapped", None)
        if not (mapped or address).is_global:
            raise _refused("its host is not public", url, param)
    return str(min(found))


def _read(
    scheme: str, host: str, address: str, port: int | None, url: str, param: str
) -> bytes | str:
    """One request to an address that was looked at, under the host's own name."""
    kind = http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection
    connection = kind(host, port, timeout=SECONDS)
    plain = socket.create_connection((address, connection.port), SECONDS)
    connection.sock = (
        ssl.create_default_context().wrap_socket(plain, server_hostname=host)
        if scheme == "https"
        else plain
    )
    try:
        parts = urlsplit(url)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", path, headers={"Accept": "image/*"})
        answer = connection.getresponse()
        where = answer.getheader("Location")
        if answer.status in (301, 302, 303, 307, 308) and where:
            return urljoin(url, where)
        if answer.status != 200:
            raise OSError(f"status {answer.status}")
        content = answer.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise _refused("it is too large", url, param)
        return content
    finally:
        connection.close()
