"""The abilities of served runs as tools of the Model Context Protocol.

Tools that no run supports are not listed. Images are base64 in both directions.
"""

from __future__ import annotations

import re
from collections.abc import Coroutine, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
from mcp.server.mcpserver import Image, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from PIL import Image as Pillow
from pydantic import Field

from pinxit.errors import UsageError
from pinxit.models.generation import GenerationParams
from pinxit.serve.dialogue.description import describe_image
from pinxit.serve.errors import ApiError
from pinxit.serve.inference.loading import load_runs
from pinxit.serve.inference.registry import ModelRegistry
from pinxit.serve.inference.requests import GenerationRequest, Route
from pinxit.serve.inference.router import Router
from pinxit.serve.mcp_http import serve_http
from pinxit.serve.media.outputs import OutputSpec, encode_image
from pinxit.serve.media.uploads import EditMask, UploadedImage, decode_base64, open_upload
from pinxit.serve.pools import work_on_images
from pinxit.serve.schemas import random_seed

MIN_DISPLAY_SIDE = 256  # pixels; smaller images are enlarged by a whole factor to be visible
MAX_QUEUED_ROWS = 64

NumImages = Annotated[int, Field(ge=1, le=10)]
Seed = Annotated[int | None, Field(ge=0, le=2**53)]  # None: a random one, which the answer tells

T = TypeVar("T")
Content = list[Image | str]


def run_mcp_server(paths: Sequence[Path], *, http: bool, host: str, port: int, device: str) -> None:
    """Serve the tools on standard input and output until the client closes them, or by HTTP."""
    models = ModelRegistry(load_runs(paths, device, MAX_QUEUED_ROWS))
    server = create_mcp_server(models)
    try:
        if http:
            serve_http(server, host, port)
        else:
            server.run("stdio")
    finally:
        models.stop()


def create_mcp_server(models: ModelRegistry) -> MCPServer:
    """Create a server with a tool for each ability of the runs."""
    server = MCPServer("pinxit", version=version("pinxit"), instructions=_describe(models))
    router = models.find(None)
    if router.first_supporting("draw"):
        _add_draw(server, router)
    if router.first_supporting("sample"):
        _add_sample(server, router)
    if router.first_supporting("edit"):
        _add_edit(server, router)
    if router.first_supporting("complete"):
        _add_complete(server, router)
    if router.first_supporting("caption"):
        _add_caption(server, router)
    if router.first_supporting("encode", "reconstruct"):
        _add_vary(server, router)
    return server


def _describe(models: ModelRegistry) -> str:
    runs = [
        f"{run.name} ({run.info.width} x {run.info.height}: {', '.join(run.abilities)})"
        for run in models.runs.values()
    ]
    return "Small image models, trained on the user's own images: " + "; ".join(runs)


def _add_draw(server: MCPServer, router: Router) -> None:
    @server.tool()
    async def draw(caption: str, n: NumImages = 1, seed: Seed = None) -> Content:
        """Generate images from a caption. The same `seed` gives the same images."""
        return await _generate(router, router.prepare(caption, _params(seed), n=n))


def _add_sample(server: MCPServer, router: Router) -> None:
    @server.tool()
    async def sample(
        n: NumImages = 1, seed: Seed = None, label: str = "", temperature: float = 1.0
    ) -> Content:
        """Generate images like the training images; `label` selects a class, if there are some."""
        route = Route("sample", router.require("sample"))
        params = _params(seed, temperature)
        request = GenerationRequest("", n, None, None, params, route, label=label or None)
        return await _generate(router, request)


def _add_edit(server: MCPServer, router: Router) -> None:
    @server.tool()
    async def edit(image: str, instruction: str, seed: Seed = None) -> Content:
        """Edit an image (base64) by an instruction."""
        source = _open_image(image)
        return await _generate(router, router.prepare(instruction, _params(seed), source=source))


def _add_complete(server: MCPServer, router: Router) -> None:
    @server.tool()
    async def complete(
        image: str,
        left: int,
        top: int,
        width: int,
        height: int,
        n: NumImages = 1,
        seed: Seed = None,
    ) -> Content:
        """Regenerate a rectangle of an image (base64); the unit is pixels."""
        source = _open_image(image)
        mask = _box_mask(source, (left, top, left + width, top + height))
        request = router.prepare("", _params(seed), n=n, source=source, mask=mask)
        return await _generate(router, request)


def _add_caption(server: MCPServer, router: Router) -> None:
    @server.tool()
    async def caption(image: str, language: str = "en") -> str:
        """Caption an image (base64)."""
        return await _report_errors(router.caption(_open_image(image), language)) or ""


def _add_vary(server: MCPServer, router: Router) -> None:
    @server.tool()
    async def vary(image: str, n: NumImages = 1, seed: Seed = None) -> Content:
        """Generate images that are similar to an image (base64)."""
        source = _open_image(image)
        request = router.prepare("", _params(seed), n=n, source=source, variation=True)
        return await _generate(router, request)


async def _generate(router: Router, request: GenerationRequest) -> Content:
    result = await _report_errors(router.generate(request))
    spec = _output_spec(request)
    images: Content = [
        Image(data=await work_on_images(_to_png, pixels, spec), format="png")
        for pixels in result.images
    ]
    return [*images, f"{describe_image(result)}\nseed {request.params.seed}"]


async def _report_errors(work: Coroutine[Any, Any, T]) -> T:
    try:
        return await work
    except ApiError as error:
        raise ToolError(str(error)) from None


def _output_spec(request: GenerationRequest) -> OutputSpec:
    """A version of an image has its size, enlarged where it is too small to be visible."""
    source, mask = request.source, request.mask
    size = source.size if source is not None and (mask or request.reads_source) else None
    return OutputSpec(size, source=source, mask=mask, frame=request.frame)


def _to_png(pixels: np.ndarray, spec: OutputSpec) -> bytes:
    image = spec.render(pixels)
    factor = max(1, -(-MIN_DISPLAY_SIDE // max(image.size)))
    size = image.width * factor, image.height * factor
    return encode_image(image.resize(size, Pillow.Resampling.NEAREST))


def _open_image(text: str) -> UploadedImage:
    try:
        bare = re.sub(r"^data:[\w/+.-]+;base64,", "", text.strip())
        return open_upload(decode_base64(bare, "image"), "image")
    except ApiError as error:
        raise ToolError(str(error)) from None


def _box_mask(source: UploadedImage, box: tuple[int, int, int, int]) -> EditMask:
    left, top, right, bottom = box
    if not (0 <= left < right <= source.width and 0 <= top < bottom <= source.height):
        raise ToolError(
            f"The box {box} is not inside the image of {source.width} x {source.height} pixels."
        )
    regenerate = np.zeros((source.height, source.width), bool)
    regenerate[top:bottom, left:right] = True
    return EditMask(regenerate)


def _params(seed: int | None, temperature: float | None = None) -> GenerationParams:
    try:
        seed = random_seed() if seed is None else seed
        return GenerationParams(seed=seed, temperature=temperature)
    except UsageError as error:
        raise ToolError(str(error)) from None
