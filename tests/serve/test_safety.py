"""Foreign pages, strangers' runs, numbers and addresses that are not what they seem."""

from __future__ import annotations

import ipaddress
import math
import socket
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinxit.errors import PinxitError, UsageError
from pinxit.serve import connections, middleware
from pinxit.serve.errors import ApiError
from pinxit.serve.media.fetch import fetch_image, is_public
from pinxit.serve.middleware import AccessRules
from pinxit.serve.store import Store
from pinxit.serve.validation import parse_json_object
from tests.serve.server import make_png, serving

FOREIGN = "https://evil.example"
ACTIONS = [
    ("POST", "/v1/responses"), ("POST", "/v1/images/edits"), ("POST", "/v1/files"),
    ("GET", "/v1/files"), ("DELETE", "/v1/files/x"), ("GET", "/studio/data/runs"),
    ("POST", "/studio/data/generate"), ("POST", "/v1/chat/completions"), ("GET", "/metrics"),
]  # fmt: skip


# -- foreign pages ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "path"), ACTIONS)
@pytest.mark.parametrize(
    "headers",
    [{"Origin": FOREIGN}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"},
     {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"},
     {"Origin": FOREIGN, "Sec-Fetch-Site": "same-origin"}],
)  # fmt: skip
def test_a_foreign_page_is_refused_on_every_route(base_url, method, path, headers):
    answer = httpx.request(method, base_url + path, headers=headers)
    assert answer.status_code == 403
    assert "--allow-origin" in answer.json()["error"]["message"]
    assert "access-control-allow-origin" not in answer.headers


def test_a_form_of_a_foreign_page_stores_no_file(base_url, client):
    before = len(client.files.list().data)
    httpx.post(
        f"{base_url}/v1/files", headers={"Origin": FOREIGN}, data={"purpose": "vision"},
        files={"file": ("a.png", make_png())},
    )  # fmt: skip
    assert len(client.files.list().data) == before


def test_its_own_page_and_links_to_it_are_served(base_url):
    own = {"Origin": base_url, "Sec-Fetch-Site": "same-origin"}
    assert httpx.get(f"{base_url}/v1/models", headers=own).status_code == 200
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert httpx.get(base_url, headers=link).status_code == 200
    assert httpx.post(f"{base_url}/v1/files", headers=link).status_code == 403


@pytest.fixture(scope="module")
def open_server(runs, tmp_path_factory):
    """A server with a key that pages of one other origin may use."""
    rules = AccessRules(api_key="secret", origins=("https://app.example",))
    store = tmp_path_factory.mktemp("open") / "s.sqlite"
    with serving([runs["blobs-vae"]], store, rules=rules) as url:
        yield url


def test_an_allowed_origin_may_ask_and_read(open_server):
    origin = {"Origin": "https://app.example"}
    preflight_request = {
        **origin, "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,x-stainless-os",
    }  # fmt: skip
    preflight = httpx.options(f"{open_server}/v1/responses", headers=preflight_request)
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == "https://app.example"
    assert preflight.headers["access-control-allow-headers"] == "authorization,x-stainless-os"
    assert "POST" in preflight.headers["access-control-allow-methods"]
    answer = httpx.get(
        f"{open_server}/v1/models", headers={**origin, "Authorization": "Bearer secret"}
    )
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    refused = httpx.get(f"{open_server}/v1/models", headers=origin)
    assert refused.status_code == 401, "an allowed page needs the key like all others"


def test_a_preflight_of_other_origins_is_refused(open_server):
    preflight_request = {"Origin": FOREIGN, "Access-Control-Request-Method": "POST"}
    preflight = httpx.options(f"{open_server}/v1/responses", headers=preflight_request)
    assert preflight.status_code == 403
    assert "access-control-allow-origin" not in preflight.headers


def test_only_real_host_names_are_served_by_default(base_url):
    answer = httpx.get(f"{base_url}/healthz", headers={"Host": "testserver"})
    assert answer.status_code == 403


@pytest.mark.parametrize("path", ["/", "/docs", "/v1/models", "/studio/data/report?run=blobs-vae"])
def test_pages_run_no_inline_script_and_stand_in_no_foreign_frame(base_url, path):
    policies = httpx.get(base_url + path).headers.get_list("content-security-policy")
    assert any("default-src 'self'" in policy for policy in policies)
    assert any("frame-ancestors 'self'" in policy for policy in policies)
    for policy in policies:
        rules = {rule.split()[0]: rule for rule in policy.split("; ")}
        scripts = rules.get("script-src", rules.get("default-src", ""))
        assert "unsafe" not in scripts
    if "report" in path:
        assert any("sandbox" in policy for policy in policies)


# -- bytes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", ["1e999", "-1e999", "1" + "0" * 400 + ".5", "NaN", "Infinity"])
def test_a_number_that_is_no_number_is_refused(base_url, number):
    body = f'{{"model": "gpt-5", "input": [{{"role": "user", "content": "hi", "w": {number}}}]}}'
    headers = {"Content-Type": "application/json"}
    answer = httpx.post(f"{base_url}/v1/responses", content=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_json")


@given(st.from_regex(r"-?[1-9][0-9]{0,5}(\.[0-9]{1,3})?[eE][+-]?[0-9]{1,4}", fullmatch=True))
def test_a_number_is_read_unless_it_overflows(text):
    content = f'{{"x": {text}}}'.encode()
    if math.isfinite(float(text)):
        assert parse_json_object(content)["x"] == float(text)
    else:
        with pytest.raises(ApiError, match="too large"):
            parse_json_object(content)


# -- addresses -------------------------------------------------------------------------------------


def embedding(ipv4: int) -> list[str]:
    """The IPv6 forms of an IPv4 address."""
    forms = [0xFFFF << 32, 0, 0x64FF9B << 96]
    numbers = [form | ipv4 for form in forms] + [0x2002 << 112 | ipv4 << 80]
    return [str(ipaddress.IPv6Address(number)) for number in numbers]


@given(st.integers(0, 2**32 - 1))
def test_an_ipv6_address_that_embeds_an_ipv4_address_counts_as_what_it_embeds(number):
    expected = is_public(str(ipaddress.IPv4Address(number)))
    assert [is_public(text) for text in embedding(number)] == [expected] * 4


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.1", "169.254.169.254", "0.0.0.0", "224.0.0.1", "::1", "::", "fec0::1",
     "fe80::1", "fc00::1", "ff02::1", "64:ff9b::7f00:1", "64:ff9b:1::1", "2002:7f00:1::",
     "::ffff:10.0.0.1", "::10.0.0.1", "100.64.0.1"],
)  # fmt: skip
def test_private_addresses_are_not_public(address):
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "64:ff9b::808:808"])
def test_public_addresses_are(address):
    assert is_public(address)


@pytest.mark.parametrize(
    "private", ["127.0.0.1", "::ffff:10.0.0.1", "169.254.169.254", "fe80::1%2"]
)
@pytest.mark.parametrize("order", [1, -1])
def test_a_host_with_one_private_address_is_refused_whatever_its_order(monkeypatch, private, order):
    addresses = ["8.8.8.8", private, "2606:4700::1111"][::order]

    def resolve(*_, **__):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (text, 0)) for text in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(ApiError, match="not public"):
        fetch_image("http://images.example/a.png", ("images.example",), "image")


# -- the store -------------------------------------------------------------------------------------


def test_only_the_owner_reads_the_stores_files(tmp_path):
    path = tmp_path / "deep" / "s.sqlite"
    Store(str(path)).save_file("file_1", "a.png", "vision", b"x")
    old = tmp_path / "old.sqlite"
    old.touch(0o644)
    Store(str(old)).save_file("file_1", "a.png", "vision", b"x")
    for file in [*path.parent.iterdir(), *tmp_path.glob("old*")]:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file.name


def test_a_store_is_ready_only_while_it_can_be_written(tmp_path):
    path = tmp_path / "s.sqlite"
    store = Store(str(path))
    assert store.is_ready()
    other = sqlite3.connect(path)
    other.execute("BEGIN IMMEDIATE")
    start = time.monotonic()
    assert not store.is_ready()
    assert time.monotonic() - start < 5
    other.rollback()
    assert store.is_ready()


def test_nothing_is_said_to_be_stored_in_a_deleted_file(runs, tmp_path):
    path = tmp_path / "s.sqlite"
    with serving([runs["blobs-vae"]], path) as url:
        body = {"model": "gpt-5", "input": "hello"}
        assert httpx.post(f"{url}/v1/responses", json=body).status_code == 200
        for file in tmp_path.glob("s.sqlite*"):
            file.unlink()
        assert httpx.post(f"{url}/v1/responses", json=body).status_code == 503
        assert httpx.get(f"{url}/readyz").status_code == 503
        unstored = httpx.post(f"{url}/v1/responses", json={**body, "store": False})
        assert unstored.status_code == 200


def test_the_size_of_the_store_is_bounded_at_every_write(tmp_path):
    store = Store(str(tmp_path / "s.sqlite"), max_mib=0.1)
    for i in range(30):
        store.save_file(f"file_{i}", "a.png", "vision", bytes(20_000))
        assert sum(file.size for file in store.list_files(100)) <= 0.1 * 2**20
    assert store.load_file("file_29") is not None


# -- connections -----------------------------------------------------------------------------------

HALF_HEADERS = b"POST /v1/responses HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Le"
HALF_BODY = (
    b"POST /v1/responses HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    b"Content-Length: 100\r\n\r\n{"
)


def connect(base_url: str, content: bytes) -> socket.socket:
    url = httpx.URL(base_url)
    connection = socket.create_connection((url.host, url.port), 10)
    connection.sendall(content)
    return connection


def test_half_requests_are_closed_in_time(base_url, monkeypatch):
    monkeypatch.setattr(connections, "HEADER_SECONDS", 0.2)
    monkeypatch.setattr(middleware, "BODY_SECONDS", 0.2)
    with connect(base_url, HALF_HEADERS) as half, connect(base_url, HALF_BODY) as body:
        assert half.recv(1) == b""
        assert b" 408 " in body.recv(1000)


def test_many_half_requests_do_not_keep_others_out(base_url, monkeypatch):
    monkeypatch.setattr(connections, "MAX_BURST", 5)
    halves = [connect(base_url, HALF_HEADERS) for _ in range(20)]
    assert httpx.get(f"{base_url}/healthz").status_code == 200
    assert halves[0].recv(1) == b"", "the oldest are closed"
    for half in halves:
        half.close()


def test_old_half_requests_are_closed_for_new_ones(base_url, monkeypatch):
    monkeypatch.setattr(connections, "MAX_UNFINISHED", 2)
    monkeypatch.setattr(connections, "GRACE_SECONDS", 0.1)
    halves = [connect(base_url, HALF_HEADERS) for _ in range(3)]
    time.sleep(0.3)
    assert httpx.get(f"{base_url}/healthz").status_code == 200
    assert halves[0].recv(1) == b""
    for half in halves:
        half.close()


def test_none_of_many_clients_that_come_at_once_is_closed(base_url):
    connections_at_once = [connect(base_url, b"") for _ in range(300)]
    for connection in connections_at_once:
        connection.sendall(GET)
    for connection in connections_at_once:
        assert b" 200 " in connection.recv(4096)
        connection.close()


GET = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


def test_a_connection_serves_many_requests_after_each_other(base_url, monkeypatch):
    monkeypatch.setattr(connections, "HEADER_SECONDS", 0.3)
    with connect(base_url, b"") as connection:
        for _ in range(3):
            connection.sendall(GET)
            assert b" 200 " in connection.recv(4096)
            time.sleep(0.2)


def test_a_byte_after_a_request_does_not_hold_a_connection(base_url, monkeypatch):
    monkeypatch.setattr(connections, "HEADER_SECONDS", 0.2)
    with connect(base_url, GET) as connection:
        assert b" 200 " in connection.recv(4096)
        connection.sendall(b"\r\n")
        assert connection.recv(1) == b""


def test_a_request_that_is_refused_before_its_body_closes_the_connection(base_url):
    head = HALF_BODY.replace(b"127.0.0.1", b"evil.example")
    with connect(base_url, head) as connection:
        assert b"connection: close" in connection.recv(4096).lower()


@pytest.mark.parametrize("depth", [101, 600, 5_000])
def test_deep_nesting_is_refused(base_url, depth):
    deep = '{"a":' * depth + "1" + "}" * depth
    body = f'{{"model": "gpt-5", "input": "x", "tools": [{{"type": "web_search", "x": {deep}}}]}}'
    answer = httpx.post(
        f"{base_url}/v1/responses", content=body, headers={"Content-Type": "application/json"}
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_json")


def test_a_folder_is_no_store(tmp_path):
    with pytest.raises((PinxitError, UsageError)):
        Store(str(tmp_path))
    assert stat.S_IMODE(tmp_path.stat().st_mode) & stat.S_IXUSR


# -- memory ----------------------------------------------------------------------------------------

DECODE = """
import io, threading
from PIL import Image
from pinxit.serve.media.uploads import open_upload
from pinxit.serve.memory import release_large_blocks

def resident():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) // 1024

release_large_blocks()
with io.BytesIO() as file:
    Image.new("RGB", (4000, 4000)).save(file, "PNG", compress_level=1)
    content = file.getvalue()
before = resident()
for _ in range(3):
    uploads = [open_upload(content) for _ in range(4)]
    threads = [threading.Thread(target=lambda u=u: u.original) for u in uploads]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    del uploads, threads
print(resident() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc on this system")
def test_large_images_leave_no_memory_behind(tmp_path):
    process = subprocess.run(
        [sys.executable, "-c", DECODE], capture_output=True, text=True, cwd=tmp_path, timeout=60
    )
    assert process.returncode == 0, process.stderr
    assert int(process.stdout) < 40, "MiB; each image has 46"
