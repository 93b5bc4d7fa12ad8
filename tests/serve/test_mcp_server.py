"""The Model Context Protocol, with its official client."""

from __future__ import annotations

import base64
import io
import os
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

from pinxit.serve.inference.loading import load_runs
from pinxit.serve.inference.registry import ModelRegistry
from pinxit.serve.mcp_server import create_mcp_server
from tests.serve.server import make_png


def call_tools(server, *calls):
    """The names of the tools, and the results of calls."""

    async def list_and_call():
        async with Client(server) as client:
            names = {tool.name for tool in (await client.list_tools()).tools}
            return names, [await client.call_tool(name, arguments) for name, arguments in calls]

    return anyio.run(list_and_call)


@pytest.fixture(scope="module")
def server(runs):
    models = ModelRegistry(load_runs(list(runs.values()), "cpu", 64))
    yield create_mcp_server(models)
    models.stop()


def decode_image(result):
    content = base64.b64decode(result.content[0].data)
    return Image.open(io.BytesIO(content))


IMAGE = base64.b64encode(make_png()).decode()


def test_each_ability_is_a_tool_and_a_seed_repeats_an_image(server):
    calls = [("draw", {"caption": "a blob", "seed": 3})] * 2 + [
        ("sample", {"n": 2, "seed": 1}),
        ("edit", {"image": IMAGE, "instruction": "turn it"}),
        ("caption", {"image": IMAGE, "language": "fr"}),
        ("vary", {"image": IMAGE, "n": 2}),
    ]
    names, results = call_tools(server, *calls)
    assert names == {"draw", "sample", "edit", "complete", "caption", "vary"}
    assert not [result for result in results if result.is_error]
    assert results[0].content[0].data == results[1].content[0].data
    assert decode_image(results[0]).size == (256, 256)
    assert results[0].content[-1].text.startswith("seed 3, blobs-draw")
    assert [part.type for part in results[2].content] == ["image", "image", "text"]
    assert results[4].content[0].text


def test_a_completion_keeps_the_pixels_outside_its_box(server):
    box = {"left": 0, "top": 4, "width": 8, "height": 4}
    _, (result,) = call_tools(server, ("complete", {"image": IMAGE, **box}))
    after = np.asarray(decode_image(result).convert("RGB"))[16::32, 16::32]
    before = np.asarray(Image.open(io.BytesIO(make_png())))
    assert (after[:4] == before[:4]).all()


@pytest.mark.parametrize(("name", "arguments", "message"), [
    ("draw", {"caption": "x", "n": 0}, "1 to 10"),
    ("caption", {"image": "no base64!"}, "base64"),
    ("complete", {"image": IMAGE, "left": 0, "top": 0, "width": 9, "height": 1}, "is not inside"),
])  # fmt: skip
def test_invalid_arguments_are_tool_errors(server, name, arguments, message):
    _, (result,) = call_tools(server, (name, arguments))
    assert result.is_error
    assert message in result.content[0].text


def test_only_supported_abilities_are_offered_over_stdio(runs):
    command = [sys.executable, "-m", "pinxit.cli", "mcp", str(runs["blobs-vae"])]
    server = stdio_client(
        StdioServerParameters(command=command[0], args=command[1:], env=dict(os.environ))
    )
    names, (result,) = call_tools(server, ("sample", {"seed": 2}))
    assert names == {"sample", "vary"}
    assert decode_image(result).size == (256, 256)


def test_tools_are_served_over_http(runs):
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
        names, _ = call_tools(f"http://127.0.0.1:{port}/mcp")
        assert names == {"sample", "vary"}
    finally:
        process.terminate()
        process.wait(20)
