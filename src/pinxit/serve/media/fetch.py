"""Download remote images: from allowed hosts only, and never from a private address."""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import string
import time
from urllib.parse import quote, urljoin, urlsplit

from pinxit.serve.errors import ApiError, truncate
from pinxit.serve.host_names import host_name
from pinxit.serve.media.uploads import MAX_IMAGE_BYTES

TIMEOUT_SECONDS = 10.0
MAX_FETCH_SECONDS = 30.0  # of a whole image
MAX_REDIRECTS = 3
# IPv6 networks whose last four bytes are an IPv4 address: compatible, mapped, translated, NAT64
EMBEDDING = [
    ipaddress.IPv6Network(network)
    for network in ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96")
]
ISATAP = (0x00005EFE, 0x02005EFE)  # bytes 9 to 12 of an address that ends with an IPv4 address
GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")  # public IPv6 addresses are in no other network


def fetch_image(
    url: str, allowed_hosts: tuple[str, ...], param: str, deadline: float | None = None
) -> bytes:
    """Download an image. Raises ApiError if its host is not allowed or not public.

    `deadline`: of the monotonic clock, until which all of it must have come.
    """
    deadline = deadline or time.monotonic() + MAX_FETCH_SECONDS
    for _ in range(MAX_REDIRECTS + 1):
        content, location = _request(url, allowed_hosts, param, deadline)
        if location is None:
            return content
        url = location
    raise _fetch_error("too many redirects", url, param)


def _fetch_error(reason: str, url: str, param: str) -> ApiError:
    return ApiError(
        f"Cannot fetch the image at '{truncate(url)}': {reason}.",
        param=param,
        code="invalid_image_url",
    )


def _request(
    url: str, allowed_hosts: tuple[str, ...], param: str, deadline: float
) -> tuple[bytes, str | None]:
    """Send one request. Return the body, and the URL of a redirect."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise _fetch_error("invalid URL", url, param) from None
    if parts.scheme not in ("http", "https") or parts.username is not None:
        raise _fetch_error("only plain http and https URLs are allowed", url, param)
    if "*" not in allowed_hosts and host_name(host) not in map(host_name, allowed_hosts):
        raise _fetch_error(
            "remote images of this host are not allowed (see --allow-remote)", url, param
        )
    address = _resolve(host, url, param)
    try:
        connection = _connect(parts.scheme, host, address, port)
        return _get(connection, url, param, deadline)
    except (OSError, http.client.HTTPException, ValueError):  # ValueError: a redirect to no URL
        raise ApiError(
            f"Cannot fetch the image at '{truncate(url)}'.",
            param=param,
            code="failed_to_download_image",
        ) from None


def _resolve(host: str, url: str, param: str) -> str:
    """Return one of the host's addresses. Raises ApiError unless all of them are public."""
    try:
        addresses = {info[4][0] for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        raise _fetch_error("unknown host", url, param) from None
    for text in addresses:
        if not is_public(str(text).split("%")[0]):
            raise _fetch_error("the host is not public", url, param)
    return str(min(addresses))


def is_public(text: str) -> bool:
    """Return whether an address is public; one that embeds an IPv4 address is as that one is."""
    address = ipaddress.ip_address(text)
    embedded = ipv4_addresses_in(address) if isinstance(address, ipaddress.IPv6Address) else []
    return all(map(_is_public, embedded or [address]))


def ipv4_addresses_in(address: ipaddress.IPv6Address) -> list[ipaddress.IPv4Address]:
    """Return the IPv4 addresses that packets to an IPv6 address reach in the end."""
    found = list(address.teredo or ())
    if address.sixtofour is not None:
        found.append(address.sixtofour)
    is_isatap = int(address) >> 32 & 0xFFFFFFFF in ISATAP
    if is_isatap or any(address in network for network in EMBEDDING):
        found.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return found


def _is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address) and address not in GLOBAL_UNICAST:
        return False
    return address.is_global and not address.is_multicast


def _connect(scheme: str, host: str, address: str, port: int | None) -> http.client.HTTPConnection:
    """Connect to the address that was checked, so that a second DNS response cannot redirect us."""
    is_https = scheme == "https"
    port = port or (443 if is_https else 80)
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)
    connection.default_port = 443 if is_https else 80  # which the header Host leaves out
    connection.sock = socket.create_connection((address, port), TIMEOUT_SECONDS)
    if is_https:
        try:
            context = ssl.create_default_context()
            connection.sock = context.wrap_socket(connection.sock, server_hostname=host)
        except BaseException:
            connection.close()
            raise
    return connection


def _get(
    connection: http.client.HTTPConnection, url: str, param: str, deadline: float
) -> tuple[bytes, str | None]:
    try:
        parts = urlsplit(url)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        path = quote(path, safe=string.punctuation)  # other characters than ASCII's are escaped
        connection.request("GET", path, headers={"Accept": "image/*"})
        return _read_response(connection.getresponse(), url, param, deadline)
    finally:
        connection.close()


def _read_response(
    response: http.client.HTTPResponse, url: str, param: str, deadline: float
) -> tuple[bytes, str | None]:
    location = response.getheader("Location")
    if response.status in (301, 302, 303, 307, 308) and location:
        return b"", urljoin(url, location)
    if response.status != 200:
        raise OSError(f"status {response.status}")
    content = b""
    while len(content) <= MAX_IMAGE_BYTES and (chunk := response.read1(2**16)):
        content += chunk
        if time.monotonic() > deadline:
            raise OSError("too slow")
    if len(content) > MAX_IMAGE_BYTES:
        message = f"larger than {MAX_IMAGE_BYTES // 2**20} MiB"
        raise _fetch_error(message, url, param)
    return content, None
