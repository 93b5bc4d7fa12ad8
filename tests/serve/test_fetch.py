"""Remote images: no address, redirect or answer of a name server leads to a private network."""

from __future__ import annotations

import ipaddress
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinxit.serve.errors import ApiError
from pinxit.serve.media.fetch import fetch_image, is_public
from pinxit.serve.middleware import AccessRules
from tests.serve.server import make_png

PUBLIC, OTHER, PRIVATE = "93.184.216.34", "8.8.8.8", "10.0.0.5"


class RemoteServer(BaseHTTPRequestHandler):
    """Sends an image, or redirects `/to/N` to `targets[N]`."""

    targets: ClassVar[list[str]] = []
    paths: ClassVar[list[str]] = []
    hosts: ClassVar[list[str]] = []

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.paths.append(self.path)
        self.hosts.append(self.headers["host"])
        is_redirect = self.path.startswith("/to/")
        self.send_response(302 if is_redirect else 200)
        if is_redirect:
            self.send_header("location", self.targets[int(self.path.rsplit("/", 1)[1])])
        self.end_headers()
        if not is_redirect:
            self.wfile.write(make_png())


@pytest.fixture(scope="module")
def remote():
    server = ThreadingHTTPServer(("127.0.0.1", 0), RemoteServer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()


class Network:
    """Names with their addresses; every connection ends at the server of this test."""

    def __init__(self, monkeypatch, port):
        self.names: dict[str, list[str]] = {}
        self.connections: list[tuple[str, int]] = []

        def resolve(host, *_, **__):
            families = {True: socket.AF_INET6, False: socket.AF_INET}
            answers = self.names.get(host, [host])
            return [(families[":" in a], socket.SOCK_STREAM, 6, "", (a, 0)) for a in answers]

        def connect_here(address, timeout=None):
            self.connections.append(address)
            connection = socket.socket()
            connection.settimeout(timeout)
            connection.connect(("127.0.0.1", port))
            return connection

        monkeypatch.setattr("pinxit.serve.media.fetch.socket.getaddrinfo", resolve)
        monkeypatch.setattr("pinxit.serve.media.fetch.socket.create_connection", connect_here)


@pytest.fixture
def network(monkeypatch, remote):
    for log in (RemoteServer.targets, RemoteServer.paths, RemoteServer.hosts):
        log.clear()
    return Network(monkeypatch, remote)


def fetch(url: str, hosts: tuple[str, ...] = ("*",)) -> bytes:
    return fetch_image(url, hosts, "image_url")


def refuse(url: str, hosts: tuple[str, ...] = ("*",)) -> str:
    with pytest.raises(ApiError) as error:
        fetch(url, hosts)
    assert error.value.status == 400
    return str(error.value)


def test_an_image_of_a_public_host_is_fetched_from_the_address_that_was_checked(network):
    network.names["images.example"] = [PUBLIC]
    assert fetch("http://images.example/a.png") == make_png()
    assert network.connections == [(PUBLIC, 80)]
    assert fetch("http://images.example:8080/a.png")
    assert network.connections[1] == (PUBLIC, 8080)
    assert RemoteServer.hosts == ["images.example", "images.example:8080"]


@pytest.mark.parametrize("answers", [
    [PUBLIC, PRIVATE], [PRIVATE, PUBLIC], [PUBLIC, "::1"], ["2606:4700::1111", PRIVATE],
    [PUBLIC, OTHER, "169.254.169.254"], [PUBLIC, "::ffff:10.0.0.5"], [PUBLIC, "fe80::1%eth0"],
])  # fmt: skip
def test_a_name_with_a_private_address_among_others_is_refused(network, answers):
    network.names["images.example"] = answers
    assert "not public" in refuse("http://images.example/a.png")
    assert network.connections == []


@pytest.mark.parametrize("target", [
    "http://10.0.0.5/x", "http://127.0.0.1/x", "//localhost/x", "http://inner.example/x",
    "http://[::ffff:127.0.0.1]/x", "http://[64:ff9b::7f00:1]/x", "http://user:pw@images.example/x",
    "file:///etc/passwd", "ftp://images.example/x", "http://[", "http://images.example:x/",
    "javascript:1",
])  # fmt: skip
def test_every_redirect_is_checked_as_the_first_url_is(network, target):
    network.names |= {"images.example": [PUBLIC], "inner.example": [PRIVATE]}
    network.names["localhost"] = ["127.0.0.1"]
    RemoteServer.targets[:] = [target]
    refuse("http://images.example/to/0")
    assert network.connections == [(PUBLIC, 80)]


def test_a_redirect_to_a_host_that_is_not_allowed_is_refused(network):
    network.names |= {"images.example": [PUBLIC], "other.example": [OTHER]}
    RemoteServer.targets[:] = ["http://other.example/x", "http://images.example/y"]
    assert "--allow-remote" in refuse("http://images.example/to/0", ("images.example",))
    assert fetch("http://images.example/to/1", ("images.example",)) == make_png()
    RemoteServer.targets[:] = ["/to/0"]
    assert "too many redirects" in refuse("http://images.example/to/0")


@pytest.mark.parametrize(("url", "path"), [
    ("http://images.example/é ü.png?q=ß#x", "/%C3%A9%20%C3%BC.png?q=%C3%9F"),
    ("http://images.example/a%20b.png?x=1&y=%2F", "/a%20b.png?x=1&y=%2F"),
    ("http://images.example", "/"),
])  # fmt: skip
def test_a_url_of_any_characters_is_fetched(network, url, path):
    network.names["images.example"] = [PUBLIC]
    assert fetch(url) == make_png()
    assert RemoteServer.paths == [path]


def test_an_address_of_ipv6_has_the_usual_port(network):
    assert fetch("http://[2606:4700::1111]/a.png") == make_png()
    assert network.connections == [("2606:4700::1111", 80)]


ipv4 = st.integers(0, 2**32 - 1)


@given(ipv4, ipv4)
def test_a_teredo_address_is_public_if_both_that_it_embeds_are(server, client):
    number = 0x20010000 << 96 | server << 64 | client ^ 0xFFFFFFFF
    embedded = [str(ipaddress.IPv4Address(number)) for number in (server, client)]
    expected = all(map(is_public, embedded))
    assert is_public(str(ipaddress.IPv6Address(number))) == expected


@given(st.integers(0, 2**61 - 1), st.sampled_from([0x5EFE, 0x02005EFE]), ipv4)
def test_an_isatap_address_counts_as_what_it_embeds(prefix, marker, address):
    text = str(ipaddress.IPv6Address((1 << 61 | prefix) << 64 | marker << 32 | address))
    if not is_public(str(ipaddress.IPv4Address(address))):
        assert not is_public(text)


@given(st.integers(0, 2**128 - 1))
def test_public_ipv6_addresses_are_global_unicast_or_embed_a_public_one(number):
    address = ipaddress.IPv6Address(number)
    if is_public(str(address)) and number >> 125 != 1:
        assert is_public(str(ipaddress.IPv4Address(number & 0xFFFFFFFF)))


@given(ipv4)
def test_translated_addresses_count_as_what_they_embed(number):
    mapped = str(ipaddress.IPv6Address(0xFFFF << 32 | number))
    translated = str(ipaddress.IPv6Address(0xFFFF << 48 | number))
    assert (
        is_public(mapped) == is_public(translated) == is_public(str(ipaddress.IPv4Address(number)))
    )


def test_the_hosts_that_are_served_by_default_are_names_of_this_machine():
    for host in AccessRules().hosts:
        addresses = [info[4][0] for info in socket.getaddrinfo(host.strip("[]"), 80)]
        assert all(ipaddress.ip_address(address).is_loopback for address in addresses)
