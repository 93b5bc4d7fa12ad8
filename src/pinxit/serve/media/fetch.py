"""Download remote images: from allowed hosts only, and never from a private address."""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import time
from urllib.parse import urljoin, urlsplit

from pinxit.serve.errors import ApiError, truncate
from pinxit.serve.media.uploads import MAX_IMAGE_BYTES

TIMEOUT_SECONDS = 10.0
MAX_FETCH_SECONDS = 30.0  # of a whole image
MAX_REDIRECTS = 3
# IPv6 networks whose last four bytes are an IPv4 address, and one whose addresses are never public
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
IPV4_COMPATIBLE = ipaddress.IPv6Network("::/96")
LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")


def fetch_image(url: str, allowed_hosts: tuple[str, ...], param: str) -> bytes:
    """Download an image. Raises ApiError if its host is not allowed or not public."""
    for _ in range(MAX_REDIRECTS + 1):
        content, location = _request(url, allowed_hosts, param)
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


def _request(url: str, allowed_hosts: tuple[str, ...], param: str) -> tuple[bytes, str | None]:
    """Send one request. Return the body, and the URL of a redirect."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise _fetch_error("invalid URL", url, param) from None
    if parts.scheme not in ("http", "https") or parts.username is not None:
        raise _fetch_error("only plain http and https URLs are allowed", url, param)
    if host not in allowed_hosts and "*" not in allowed_hosts:
        raise _fetch_error(
            "remote images of this host are not allowed (see --allow-remote)", url, param
        )
    address = _resolve(host, url, param)
    try:
        return _get(parts.scheme, host, address, port, url, param)
    except (OSError, http.client.HTTPException):
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
    if address.teredo is not None:
        return list(address.teredo)
    if address.sixtofour is not None:
        return [address.sixtofour]
    is_mapped = address.ipv4_mapped is not None
    if is_mapped or address in NAT64 or address in IPV4_COMPATIBLE:
        return [ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)]
    return []


def _is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address) and (
        address.is_site_local or address in LOCAL_NAT64
    ):
        return False
    return address.is_global and not address.is_multicast


def _get(
    scheme: str, host: str, address: str, port: int | None, url: str, param: str
) -> tuple[bytes, str | None]:
    """Connect to the address that was checked, so that a second DNS response cannot redirect us."""
    is_https = scheme == "https"
    connection_type = http.client.HTTPSConnection if is_https else http.client.HTTPConnection
    connection = connection_type(host, port, timeout=TIMEOUT_SECONDS)
    plain = socket.create_connection((address, connection.port), TIMEOUT_SECONDS)
    if is_https:
        context = ssl.create_default_context()
        connection.sock = context.wrap_socket(plain, server_hostname=host)
    else:
        connection.sock = plain
    try:
        parts = urlsplit(url)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", path, headers={"Accept": "image/*"})
        return _read_response(connection.getresponse(), url, param)
    finally:
        connection.close()


def _read_response(
    response: http.client.HTTPResponse, url: str, param: str
) -> tuple[bytes, str | None]:
    location = response.getheader("Location")
    if response.status in (301, 302, 303, 307, 308) and location:
        return b"", urljoin(url, location)
    if response.status != 200:
        raise OSError(f"status {response.status}")
    content, deadline = b"", time.monotonic() + MAX_FETCH_SECONDS
    while len(content) <= MAX_IMAGE_BYTES and (chunk := response.read1(2**16)):
        content += chunk
        if time.monotonic() > deadline:
            raise OSError("too slow")
    if len(content) > MAX_IMAGE_BYTES:
        message = f"larger than {MAX_IMAGE_BYTES // 2**20} MiB"
        raise _fetch_error(message, url, param)
    return content, None
