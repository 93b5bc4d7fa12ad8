"""The abilities of served runs as tools of the Model Context Protocol.

Only what the runs can do is offered. Images go both ways as base64 in the protocol's own parts.
"""

from __future__ import annotations

import io
import re
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mcp.server.mcpserver import Image, MCPServer
from mcp.server.mcpserver.exceptions import ToolError

from pinxit.serve.errors import Refusal
from pinxit.serve.inference.registry import load
from pinxit.serve.inference.requests import Ask, Painted
from pinxit.serve.inference.router import Choice, Painters
from pinxit.serve.media.outputs import encoded, image_of, kept_outside
from pinxit.serve.media.uploads import Sent, from_base64, received

LEAST = 256  # pixels a side that an image is enlarged to, by whole numbers: small ones are not seen
WAITING = 64


def run(paths: Sequence[Path], *, http: bool, host: str, port: int, device: str) -> None:
    """Serve the tools until the client leaves (or, by HTTP, until a signal)."""
    painters = Painters(load(paths, device, WAITING))
    server = tools_of(painters)
    try:
        if http:
            print(f"http://{host}:{port}/mcp", flush=True)
            server.run("streamable-http", host=host, port=port)
        else:
            server.run("stdio")
    finally:
        painters.stop()


def tools_of(painters: Painters) -> MCPServer:
    """A server with a tool for each thing that the runs can do."""
    server = MCPServer("pinxit", instructions=_about(painters))
    choice = painters.named(None)
    if choice.able("draw"):
        _add_draw(server, choice)
    if choice.able("sample"):
        _add_sample(server, choice)
    if choice.able("edit"):
        _add_edit(server, choice)
    if choice.able("complete"):
        _add_complete(server, choice)
    if choice.able("caption"):
        _add_caption(server, choice)
    if choice.able("encode", "reconstruct"):
        _add_vary(server, choice)
    return server


def _about(painters: Painters) -> str:
    each = [
        f"{one.name} ({one.info.width} x {one.info.height}: {', '.join(one.abilities)})"
        for one in painters.served.values()
    ]
    return "Images by small models trained on their user's own images: " + "; ".join(each)


def _add_draw(server: MCPServer, choice: Choice) -> None:
    @server.tool()
    async def draw(caption: str, n: int = 1, seed: int | None = None) -> list[Image | str]:
        """Paint new images from a caption. `seed` repeats an image; without it chance."""
        return await _painted(choice, Ask(caption, _few(n), _seed(seed)))


def _add_sample(server: MCPServer, choice: Choice) -> None:
    @server.tool()
    async def sample(
        n: int = 1, seed: int | None = None, label: str = "", temperature: float = 1.0
    ) -> list[Image | str]:
        """New images out of nothing; `label` chooses a class where the model knows classes."""
        by = choice.able("sample")
        assert by is not None
        ask = Ask(label, _few(n), _seed(seed), how=(("temperature", temperature),))
        return await _painted(Choice([by]), ask)


def _add_edit(server: MCPServer, choice: Choice) -> None:
    @server.tool()
    async def edit(image: str, instruction: str, seed: int | None = None) -> list[Image | str]:
        """Change an image (base64) as an instruction says."""
        ask = Ask(instruction, 1, _seed(seed), _image(image))
        return await _painted(choice, ask)


def _add_complete(server: MCPServer, choice: Choice) -> None:
    @server.tool()
    async def complete(
        image: str,
        left: int,
        top: int,
        width: int,
        height: int,
        n: int = 1,
        seed: int | None = None,
    ) -> list[Image | str]:
        """Paint a rectangle of an image (base64) anew, in its pixels; the rest stays."""
        source = _image(image)
        mask = _hole(source, (left, top, left + width, top + height))
        return await _painted(choice, Ask("", _few(n), _seed(seed), source, mask))


def _add_caption(server: MCPServer, choice: Choice) -> None:
    @server.tool()
    async def caption(image: str, language: str = "en") -> str:
        """An image (base64) in words."""
        return await _done(choice.describe(_image(image), language)) or ""


def _add_vary(server: MCPServer, choice: Choice) -> None:
    @server.tool()
    async def vary(image: str, n: int = 1, seed: int | None = None) -> list[Image | str]:
        """Images near another one (base64)."""
        ask = Ask("", _few(n), _seed(seed), _image(image))
        return _shown(await _done(choice.vary(ask)), ask)


async def _painted(choice: Choice, ask: Ask) -> list[Image | str]:
    return _shown(await _done(choice.paint(ask)), ask)


async def _done(work: Any) -> Any:
    try:
        return await work
    except Refusal as error:
        raise ToolError(str(error)) from None


def _shown(painted: Painted, ask: Ask) -> list[Image | str]:
    images = [Image(data=_png(pixels, ask), format="png") for pixels in painted.pixels]
    return [*images, f"seed {ask.seed}, by {painted.by.name}: {painted.said}"]


def _png(pixels: Any, ask: Ask) -> bytes:
    image = image_of(pixels)
    if ask.mask is not None and ask.source is not None:
        image = kept_outside(image, ask.source, ask.mask)
    times = max(1, -(-LEAST // max(image.size)))
    return encoded(image.resize((image.width * times, image.height * times), 0))


def _image(text: str) -> Sent:
    try:
        bare = re.sub(r"^data:[\w/+.-]+;base64,", "", text.strip())
        return received(from_base64(bare, "image"), "image")
    except Refusal as error:
        raise ToolError(str(error)) from None


def _hole(source: Sent, box: tuple[int, int, int, int]) -> bytes:
    """A mask of the image's size, transparent in a box. Raises ToolError for one outside."""
    from PIL import Image as Pillow

    left, top, right, bottom = box
    if not (0 <= left < right <= source.width and 0 <= top < bottom <= source.height):
        raise ToolError(
            f"the box {box} does not lie in an image of {source.width} x {source.height}."
        )
    mask = Pillow.new("RGBA", (source.width, source.height), (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), box)
    with io.BytesIO() as file:
        mask.save(file, "PNG")
        return file.getvalue()


def _few(n: int) -> int:
    if not 1 <= n <= 10:
        raise ToolError(f"images: 1 to 10, not {n}.")
    return n


def _seed(seed: int | None) -> int:
    return secrets.randbelow(2**31) if seed is None else abs(seed)
