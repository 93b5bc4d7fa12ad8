"""A host is the same host however it is written, in options, in headers and in URLs."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinxit.serve.errors import ApiError
from pinxit.serve.host_names import host_name, is_loopback
from pinxit.serve.media import fetch
from pinxit.serve.middleware import AccessRules, RequestMiddleware
from pinxit.serve.studio.description import path_for_commands

# each group: spellings of one host
SPELLINGS = (
    ("myhost.lan", "MyHost.LAN", "myhost.lan."),
    ("2001:db8::5", "2001:DB8:0:0::5", "[2001:db8::5]", "[2001:0DB8::0005]"),
    ("192.0.2.7",),
    ("bücher.example", "xn--bcher-kva.example", "BÜCHER.example"),
    ("localhost", "LOCALHOST"),
)
hosts = st.sampled_from([(group[0], text) for group in SPELLINGS for text in group])
ports = st.sampled_from(["", ":80", ":8000"])


def bracket(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


@given(hosts, hosts, ports)
def test_spellings_of_a_host_are_equal_and_those_of_two_are_not(one, other, port):
    same = host_name(one[1]) == host_name(bracket(other[1]) + port)
    assert same == (one[0] == other[0])


def check_host(allowed: str, header: str) -> None:
    middleware = RequestMiddleware(None, AccessRules(hosts=(allowed,)), None)  # type: ignore[arg-type]
    headers = {b"host": header.encode("latin-1")}
    middleware._check_access({"path": "/healthz", "method": "GET"}, headers)


@given(hosts, hosts, ports)
def test_a_request_is_checked_by_its_host_in_any_spelling(allowed, sent, port):
    if allowed[0] == sent[0]:
        check_host(allowed[1], bracket(sent[1]) + port)
    else:
        with pytest.raises(ApiError, match="host name"):
            check_host(allowed[1], bracket(sent[1]) + port)


@pytest.mark.parametrize(
    "header", ["", "evil.example", "127.0.0.1.evil.example", "[::1]evil", "::"]
)
def test_other_hosts_are_refused(header):
    for allowed in AccessRules().hosts:
        with pytest.raises(ApiError, match="host name"):
            check_host(allowed, header)


@given(hosts, hosts, ports)
def test_remote_images_are_allowed_by_their_host_in_any_spelling(allowed, sent, port):
    url = f"http://{bracket(sent[1])}{port}/a.png"
    refusal = "not allowed" if allowed[0] != sent[0] else "unknown host|not public"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fetch.socket, "getaddrinfo", lambda *_, **__: [(0, 0, 0, "", ("10.0.0.1",))])
        with pytest.raises(ApiError, match=refusal):
            fetch.fetch_image(url, (allowed[1],), "image")


@pytest.mark.parametrize(
    ("client", "host", "is_shown"),
    [
        ("127.0.0.1", "localhost:8000", True),
        ("::1", "[::1]:8000", True),
        ("::ffff:127.0.0.1", "LOCALHOST", True),
        ("10.0.0.9", "localhost:8000", False),  # another machine may send any header
        ("127.0.0.1", "myhost.lan", False),
        (None, "localhost", False),
    ],
)
def test_only_a_browser_of_the_machine_sees_paths(tmp_path, client, host, is_shown):
    address = None if client is None else SimpleNamespace(host=client)
    request = SimpleNamespace(client=address, headers={"host": host})
    shown = path_for_commands(SimpleNamespace(run=SimpleNamespace(path=tmp_path)), request)  # type: ignore[arg-type]
    assert shown == (str(tmp_path) if is_shown else tmp_path.name)


def test_a_name_is_no_loopback_address():
    assert not is_loopback("localhost")
    assert is_loopback("127.8.8.8")
