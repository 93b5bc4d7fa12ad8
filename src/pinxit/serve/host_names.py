"""One spelling for each host, however a client or an option writes it."""

from __future__ import annotations

import ipaddress
import re

_WITH_PORT = re.compile(r"(?:\[([^\[\]]*)\]|([^\[\]:]*))(?::\d*)?")


def host_name(text: str) -> str:
    """Return the name or address of `host`, `host:port`, `[ipv6]:port` or `ipv6` in one spelling.

    >>> host_name("MyHost.lan:8000"), host_name("[2001:DB8:0::5]:8000")
    ('myhost.lan', '2001:db8::5')
    """
    text = text.strip().lower()
    parts = _WITH_PORT.fullmatch(text)
    name = (parts[1] or parts[2] or "") if parts else text
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return _to_ascii(name.removesuffix("."))


def _to_ascii(name: str) -> str:
    """Return a name as clients send it: other letters than ASCII's are encoded (IDNA)."""
    try:
        return name if name.isascii() else name.encode("idna").decode()
    except UnicodeError:
        return name


def is_loopback(text: str) -> bool:
    """Return whether a text is an address of this machine that no other can reach."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback
