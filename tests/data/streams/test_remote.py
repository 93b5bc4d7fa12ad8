"""Shards on other machines: read, and in two lines why not, after a few attempts."""

from __future__ import annotations

import functools
import http.server
import json
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest

from pinxit.cli import main
from pinxit.data.images import Images
from pinxit.data.load import load_images
from pinxit.data.remote import downloads, files
from pinxit.data.shards.manifest import MANIFEST
from pinxit.data.shards.shard_set import Shard
from pinxit.data.shards.write import shard
from pinxit.errors import PinxitError, UsageError
from pinxit.extras import MissingExtraError
from tests.data.streams.shard_sets import write_shards


@pytest.fixture(autouse=True)
def quick(tmp_path, monkeypatch):
    monkeypatch.setenv("PINXIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(files, "WAITS", (0.01, 0.01))
    monkeypatch.setattr(files, "READ_SECONDS", 0.5)
    fsspec.filesystem("http").clear_instance_cache()


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> Path:
    """Five shards of 12 images, with their list."""
    folder = tmp_path_factory.mktemp("shards")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PINXIT_CACHE", str(folder / "cache"))
        shard(write_shards(folder / "set", [60]), folder / "out", per_shard=12, quiet=True)
    return folder / "out"


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder; `behaviour` says what is wrong with the files of a name."""

    behaviour: dict[str, str]
    requests: list[str]

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        self.requests.append(name)
        match self.behaviour.get(name):
            case "forbidden":
                self.send_error(403)
            case "busy":
                self.send_error(503)
            case "busy once":
                self.behaviour[name] = ""
                self.send_error(503)
            case "silent":
                time.sleep(1.2)
            case "cut":
                content = (Path(self.directory) / name).read_bytes()
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[: len(content) // 2])
            case _:
                super().do_GET()


@pytest.fixture
def serve(shards) -> Iterator:
    """Start a server of the shards; returns its address and what is requested."""
    servers = []

    def start(folder: Path = shards, **behaviour: str) -> tuple[str, list[str]]:
        names = {name.replace("_", "-", 1) + ".tar": what for name, what in behaviour.items()}
        kind = type("Own", (Handler,), {"behaviour": names, "requests": []})
        handler = functools.partial(kind, directory=str(folder))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}", kind.requests  # type: ignore[attr-defined]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def memory(shards) -> str:
    """The address of the shards in fsspec's file system in memory."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    for file in shards.iterdir():
        if not file.name.startswith("."):
            system.pipe_file(f"/bucket/set/{file.name}", file.read_bytes())
    return "memory://bucket/set"


def load(source, **options) -> Images:
    return load_images(source, progress=False, **({"stream": "on"} | options))


def read_all(images: Images) -> dict[str, bytes]:
    assert images.stream is not None
    batches = [batch for _, batch in images.stream.batches("all", 16)]
    return {n: p.tobytes() for b in batches for n, p in zip(b.names, b.pixels, strict=True)}


@pytest.mark.parametrize("name", ["../../evil.tar", "{root}/evil.tar", "x.txt", "a/../../e.tar"])
def test_a_list_that_names_files_elsewhere_is_not_used(tmp_path, memory, capsys, name):
    name = name.replace("{root}", str(tmp_path))
    system = fsspec.filesystem("memory")
    record = json.loads(system.cat_file(f"/bucket/set/{MANIFEST}"))
    content = system.cat_file(f"/bucket/set/{record['shards'][0]['name']}")
    for evil in ("/evil.tar", "/bucket/e.tar", "/bucket/set/x.txt"):
        system.pipe_file(evil, content)
    record["shards"][0]["name"] = name
    system.pipe_file(f"/bucket/set/{MANIFEST}", json.dumps(record).encode())
    assert len(read_all(load(memory))) == 60  # of the files that are there
    assert "is no name of a shard" in capsys.readouterr().err
    assert {file.name for file in tmp_path.rglob("*.tar")} == {
        f"shard-{i:06d}.tar" for i in range(5)
    }


def test_tables_beside_remote_shards_are_left_out(shards, capsys):
    system = fsspec.filesystem("memory")
    system.store.clear()
    for file in sorted(shards.glob("*.tar")):
        system.pipe_file(f"/bucket/set/{file.name}", file.read_bytes())
    expected = read_all(load("memory://bucket/set"))
    for file in shards.glob("*.tar"):
        system.pipe_file(f"/bucket/set/{file.stem}.parquet", b"a table")
        system.pipe_file(f"/bucket/set/{file.stem}_stats.json", b"{}")
    assert read_all(load("memory://bucket/set")) == expected
    assert "5 Parquet files beside shards of the same name not used" in capsys.readouterr().err
    system.pipe_file("/bucket/set/other.parquet", b"a table")
    with pytest.raises(UsageError, match="several kinds"):
        load("memory://bucket/set")


@pytest.mark.parametrize("name", ["../evil.tar", "/evil.tar", "a/../../evil.tar", "a\0.tar"])
def test_nothing_is_written_outside_the_folder_of_downloads(tmp_path, memory, name):
    fsspec.filesystem("memory").pipe_file("/bucket/evil.tar", b"content")
    with pytest.raises(PinxitError, match="outside its folder"):
        downloads.Downloads(memory).fetch(Shard(name))
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


PATTERNS = ["", "/", "/*.tar", "/shard-{000000..000004}.tar", "/shard-00000[0-4].tar"]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_an_address_has_the_images_that_local_shards_have(memory, shards, pattern):
    images = load(memory + pattern)
    assert read_all(images) == read_all(load(shards))
    assert images.count_splits() == load(shards).count_splits()
    reader, local = images.stream.open_training(0), load(shards).stream.open_training(0)
    np.testing.assert_array_equal(
        reader.read(np.arange(90)).pixels.numpy(), local.read(np.arange(90)).pixels.numpy()
    )
    reader.close()
    local.close()


def test_small_remote_sets_are_decoded_once(memory, shards):
    images = load(memory, stream="auto")
    assert images.stream is None
    assert images.label_names == ("even", "odd")
    assert len(images) == 60
    fsspec.filesystem("memory").store.clear()


def test_shards_without_a_list_are_counted(memory):
    system = fsspec.filesystem("memory")
    expected = read_all(load(memory))
    system.rm(f"/bucket/set/{MANIFEST}")
    assert read_all(load(memory)) == expected


def test_changed_shards_are_fetched_again(memory):
    system = fsspec.filesystem("memory")
    system.rm(f"/bucket/set/{MANIFEST}")
    before = load(memory)
    first = system.cat_file("/bucket/set/shard-000000.tar")
    system.pipe_file("/bucket/set/shard-000001.tar", first)
    after = load(memory)
    assert before.fingerprint != after.fingerprint
    assert read_all(before) != read_all(after)


def test_http_shards_are_fetched_once(serve, shards):
    address, requests = serve()
    images = load(f"{address}/shard-{{000000..000004}}.tar")
    assert read_all(images) == read_all(load(shards))
    read_all(images)
    assert sum(name.endswith(".tar") for name in requests) == 5


def test_a_server_that_is_busy_once_is_tried_again(serve, shards):
    address, _ = serve(shard_000002="busy once")
    images = load(f"{address}/shard-{{000000..000004}}.tar")
    assert read_all(images) == read_all(load(shards))


@pytest.mark.parametrize(
    ("behaviour", "attempts", "message"),
    [
        ("forbidden", 1, r"shard-000001.tar refuses access \(status 403\)"),
        ("busy", 3, r"shard-000001.tar cannot be read, in 3 attempts: 503"),
        ("silent", 3, r"shard-000001.tar cannot be read, in 3 attempts: nothing came for"),
        ("cut", 3, r"shard-000001.tar cannot be read, in 3 attempts: "),
    ],
)
def test_errors_of_a_server_are_two_lines(serve, behaviour, attempts, message):
    address, requests = serve(shard_000001=behaviour)
    images_of = f"{address}/shard-{{000000..000004}}.tar"
    with pytest.raises(PinxitError, match=message) as raised:
        load(images_of)
    assert not isinstance(raised.value, UsageError)
    assert len(str(raised.value).splitlines()) == 2
    assert requests.count("shard-000001.tar") == attempts


@pytest.mark.parametrize("name", ["/none.tar", "/shard-{000003..000007}.tar", "/nothing/"])
def test_what_does_not_exist_is_named(serve, name):
    address, _ = serve()
    with pytest.raises(PinxitError, match=r"does not exist|no shards") as raised:
        load(address + name)
    assert len(str(raised.value).splitlines()) == 2


def test_a_refused_connection_is_two_lines_and_exit_code_1(tmp_path, capsys):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data = f"http://127.0.0.1:{port}/{{0..3}}.tar"
    assert main(["train", "vae", data, "--steps", "2", "--out", str(tmp_path / "run")]) == 1
    text = capsys.readouterr().err.strip().splitlines()
    assert len(text) == 2
    assert "cannot be read, in 3 attempts" in text[0]
    assert not (tmp_path / "run").exists()


def test_a_bucket_that_does_not_exist_is_named():
    with pytest.raises(PinxitError, match=r"memory://no-bucket/x.* does not exist|no shards"):
        load("memory://no-bucket/x/*.tar")


def test_missing_packages_and_unknown_schemes_are_named():
    with pytest.raises(MissingExtraError, match=r"pip install 'pinxit\[s3\]'"):
        load("s3://bucket/set/")
    with pytest.raises(UsageError, match="s3://"):
        load("what://bucket/set/")


def test_a_damaged_download_is_noticed_by_its_checksum(memory):
    system = fsspec.filesystem("memory")
    content = bytearray(system.cat_file("/bucket/set/shard-000002.tar"))
    content[700] ^= 1
    images = load(memory)
    system.pipe_file("/bucket/set/shard-000002.tar", bytes(content))

    shutil.rmtree(downloads._root())
    with pytest.raises(PinxitError, match="another checksum"):
        read_all(images)


def test_downloads_are_bounded_and_fetched_again(memory, monkeypatch, tmp_path):
    monkeypatch.setattr(downloads, "MIN_AGE_SECONDS", 0.0)
    images = load(memory)
    expected = read_all(images)
    store = images.stream.shards.fetch.__self__
    store.max_bytes = max(s.size for s in images.stream.shards.shards) + 1

    shutil.rmtree(downloads._root())
    assert read_all(images) == expected
    held = sum(file.stat().st_size for file in downloads._root().rglob("*.tar"))
    assert held <= store.max_bytes
    # a file that was fetched just now is not removed while it is opened
    monkeypatch.setattr(downloads, "MIN_AGE_SECONDS", 60.0)
    reader = images.stream.open_training(0)
    store.max_bytes = 1
    reader.read(np.arange(3))
    shutil.rmtree(downloads._root(), ignore_errors=True)  # the next window is fetched meanwhile
    assert len(reader.read(np.arange(60)).pixels) == 60
    reader.close()


def test_downloads_can_be_cleared(memory, capsys):
    read_all(load(memory))
    assert main(["cache"]) == 0
    assert "downloads" in capsys.readouterr().out
    assert main(["cache", "--clear"]) == 0
    assert not list(downloads._root().rglob("*.tar"))
