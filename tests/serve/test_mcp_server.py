"""The Model Context Protocol, with its official client."""

from __future__ import annotations

import base64
import io
import socket
import subprocess
import sys
import time

import anyio
import numpy as np
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from PIL import Image

from pinxit.serve.inference.registry import load
from pinxit.serve.inference.router import Painters
from pinxit.serve.mcp_server import tools_of
from tests.serve.server import make_png


def asked(server, *calls):
    """The names of the tools, and the results of calls."""

    async def all_of_them():
        async with Client(server) as client:
            names = {tool.name for tool in (await client.list_tools()).tools}
            return names, [await client.call_tool(name, given) for name, given in calls]

    return anyio.run(all_of_them)


@pytest.fixture(scope="module")
def server(runs):
    painters = Painters(load(list(runs.values()), "cpu", 64))
    yield tools_of(painters)
    painters.stop()


def shown(result):
    content = base64.b64decode(result.content[0].data)
    return Image.open(io.BytesIO(content))


SENT = base64.b64encode(make_png()).decode()


def test_each_ability_is_a_tool_and_a_seed_repeats(server):
    calls = [("draw", {"caption": "a blob", "seed": 3})] * 2 + [
        ("sample", {"n": 2, "seed": 1}),
        ("edit", {"image": SENT, "instruction": "turn it"}),
        ("caption", {"image": SENT, "language": "fr"}),
        ("vary", {"image": SENT, "n": 2}),
    ]
    names, found = asked(server, *calls)
    assert names == {"draw", "sample", "edit", "complete", "caption", "vary"}
    assert not [result for result in found if result.is_error]
    assert found[0].content[0].data == found[1].content[0].data
    assert shown(found[0]).size == (256, 256)
    assert found[0].content[-1].text.startswith("seed 3, by blobs-painter")
    assert [part.type for part in found[2].content] == ["image", "image", "text"]
    assert found[4].content[0].text


def test_a_completion_leaves_what_is_outside_its_box(server):
    box = {"left": 0, "top": 4, "width": 8, "height": 4}
    _, (result,) = asked(server, ("complete", {"image": SENT, **box}))
    made = np.asarray(shown(result).convert("RGB"))[16::32, 16::32]
    before = np.asarray(Image.open(io.BytesIO(make_png())))
    assert (made[:4] == before[:4]).all()


@pytest.mark.parametrize(("name", "given", "says"), [
    ("draw", {"caption": "x", "n": 0}, "1 to 10"),
    ("caption", {"image": "no base64!"}, "base64"),
    ("complete", {"image": SENT, "left": 0, "top": 0, "width": 9, "height": 1}, "does not lie"),
])  # fmt: skip
def test_what_cannot_be_is_told(server, name, given, says):
    _, (result,) = asked(server, (name, given))
    assert result.is_error
    assert says in result.content[0].text


def test_only_what_the_runs_can_is_offered_by_stdio(runs):
    command = [sys.executable, "-m", "pinxit.cli", "mcp", str(runs["blobs-vae"])]
    server = stdio_client(StdioServerParameters(command=command[0], args=command[1:]))
    names, (result,) = asked(server, ("sample", {"seed": 2}))
    assert names == {"sample", "vary"}
    assert shown(result).size == (256, 256)


def test_it_is_served_by_http(runs):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "pinxit.cli", "mcp", str(runs["blobs-vae"]), "--http"]
    process = subprocess.Popen([*command, "--port", str(port)], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        names, _ = asked(f"http://127.0.0.1:{port}/mcp")
        assert names == {"sample", "vary"}
    finally:
        process.terminate()
        process.wait(20)
