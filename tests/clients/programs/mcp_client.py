"""mcp: the tools of `pinxit mcp`, on standard input and output and by HTTP, as an assistant does.

MCP_COMMAND is the command that starts it, as a list in JSON.
"""

import asyncio
import base64
import json
import os
import subprocess

from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

COMMAND, *ARGS = json.loads(os.environ["MCP_COMMAND"])


def image_of(result) -> str:
    """The image of a result, in base64; a text beside it says what was generated."""
    assert not result.is_error, result.content
    image, text = result.content
    assert base64.b64decode(image.data).startswith(b"\x89PNG")
    assert text.text
    return image.data


async def use_tools(server) -> None:
    """Draw, edit what was drawn, caption it, complete it, and be refused."""
    async with Client(server) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(tools) == {"draw", "sample", "edit", "complete", "caption", "vary"}
        assert "caption" in tools["draw"].input_schema["properties"]

        image = image_of(await client.call_tool("draw", {"caption": "a cat", "seed": 3}))
        again = image_of(await client.call_tool("draw", {"caption": "a cat", "seed": 3}))
        assert image == again
        edit = {"image": image, "instruction": "give this cat a detective hat"}
        edited = image_of(await client.call_tool("edit", edit))
        caption = await client.call_tool("caption", {"image": edited})
        assert caption.content[0].text
        box = {"left": 0, "top": 128, "width": 256, "height": 128}
        image_of(await client.call_tool("complete", {"image": image, **box}))
        image_of(await client.call_tool("sample", {}))
        image_of(await client.call_tool("vary", {"image": image}))
        assert (await client.call_tool("draw", {"caption": "a cat", "n": 99})).is_error


async def use_http() -> None:
    command = [COMMAND, *ARGS, "--http", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            await use_tools(process.stdout.readline().strip())
        finally:
            process.terminate()


asyncio.run(use_tools(stdio_client(
    StdioServerParameters(command=COMMAND, args=ARGS, env=dict(os.environ))
)))  # fmt: skip
asyncio.run(use_http())
