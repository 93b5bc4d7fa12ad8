"""The routes of the studio page: its files, and the data of its tabs."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from pydantic import Field, StrictStr

from pinxit.errors import PinxitError
from pinxit.models.protocols import CanEncode
from pinxit.reports import report
from pinxit.serve.api.sse import event_stream, run_while_connected
from pinxit.serve.errors import ApiError, truncate
from pinxit.serve.inference.loading import LoadedRun
from pinxit.serve.inference.registry import ModelRegistry
from pinxit.serve.media.sources import ImageSources, RequestImages
from pinxit.serve.media.uploads import UploadedImage
from pinxit.serve.pools import read_in_thread
from pinxit.serve.schemas import RequestSeed, Schema
from pinxit.serve.studio.attention import caption_attention
from pinxit.serve.studio.description import describe_for_page, path_for_commands, summarize
from pinxit.serve.studio.docs_page import render_docs
from pinxit.serve.studio.examples import load_examples
from pinxit.serve.studio.generation import prepare_request, stream_generation
from pinxit.serve.studio.inputs import fit_input
from pinxit.serve.studio.latents import (
    decode_latent,
    encode_image,
    rank_latents,
    reconstruct_image,
    sample_latent,
)
from pinxit.serve.studio.recipes import make_latent_program
from pinxit.serve.studio.request import StudioRequest
from pinxit.serve.studio.text import to_base64_png, to_png
from pinxit.serve.studio.training import add_training, add_trainings
from pinxit.serve.validation import parse_json_body

log = logging.getLogger("pinxit.serve")

STATIC = Path(__file__).parent / "static"
MAX_REPORT_BYTES = 64 * 2**20
MODULES = "<!-- modules -->"  # in page.html
MEDIA_TYPES = {".js": "text/javascript", ".css": "text/css"}
REVALIDATE = {"Cache-Control": "no-cache"}  # else a browser mixes files of two versions

# of a report, which may be a stranger's: it runs no script
SANDBOXED = {"Content-Security-Policy": "sandbox; script-src 'none'"}

LatentValue = Annotated[float, Field(ge=-100, le=100, allow_inf_nan=False)]


class LatentRequest(Schema):
    """A latent to decode."""

    run: StrictStr
    z: Annotated[list[LatentValue], Field(min_length=1, max_length=65_536)]


class EncodeRequest(Schema):
    """Where a latent is from: an image, as a data URL, or else a seed."""

    run: StrictStr
    image: StrictStr = ""
    seed: RequestSeed = 0


class InputRequest(Schema):
    """An image, as a data URL, and the name of its file."""

    run: StrictStr
    image: StrictStr
    name: StrictStr = ""


class RunRequest(Schema):
    """A run."""

    run: StrictStr


def add_studio(app: FastAPI, models: ModelRegistry) -> None:
    """Add the page at `/` and the routes it uses."""
    add = partial(app.add_api_route, include_in_schema=False, response_model=None)
    studio = StudioRoutes(models)
    add("/", studio.page, response_class=HTMLResponse)
    add("/docs", partial(_docs, app), response_class=HTMLResponse)
    add("/favicon.ico", _no_content)
    add("/studio/static/{name}", studio.static_file)
    add("/studio/data/runs", studio.list_runs)
    add("/studio/data/summary", studio.summary)
    add("/studio/data/examples", studio.examples)
    add("/studio/data/report", studio.report, response_class=HTMLResponse)
    add_training(add, models)
    post = partial(add, methods=["POST"])
    post("/studio/data/generate", studio.generate)
    post("/studio/data/input", studio.fit_input)
    post("/studio/data/latent", studio.find_latent)
    post("/studio/data/decode", studio.decode)
    post("/studio/data/latent-program", studio.latent_program)
    post("/studio/data/reconstruct", studio.reconstruct)
    post("/studio/data/captions", studio.caption)
    post("/studio/data/report", studio.make_report)


@dataclass(frozen=True)
class StudioRoutes:
    """Routes of the page beyond the OpenAI API."""

    models: ModelRegistry
    # run -> its examples, and its report while it is made
    loaded_examples: dict[str, dict[str, Any]] = field(default_factory=dict)
    reports: dict[str, asyncio.Task[Any]] = field(default_factory=dict)

    async def page(self) -> Response:
        """Return the page. It names all its modules, so that they load at the same time."""
        text = (STATIC / "page.html").read_text(encoding="utf-8")
        names = sorted(file.name for file in STATIC.glob("*.js"))
        links = [f'<link rel="modulepreload" href="/studio/static/{name}">' for name in names]
        return HTMLResponse(text.replace(MODULES, "\n".join(links)), headers=REVALIDATE)

    async def static_file(self, name: str) -> Response:
        file = next((file for file in STATIC.iterdir() if file.name == name), None)
        if file is None or file.suffix not in MEDIA_TYPES:
            raise ApiError("This file does not exist.", status=404)
        media_type = MEDIA_TYPES[file.suffix]
        return Response(file.read_bytes(), media_type=media_type, headers=REVALIDATE)

    # -- runs -----------------------------------------------------------------------------------

    async def list_runs(self, request: Request) -> Response:
        runs = self.models.runs.values()
        records = [describe_for_page(run, request) for run in runs]
        return JSONResponse(add_trainings(records, self.models))

    async def summary(self, run: str) -> Response:
        return JSONResponse(await read_in_thread(summarize, self._find_run(run)))

    async def examples(self, run: str) -> Response:
        """Return images and captions of the run's data, or what stands for them."""
        loaded = self._find_run(run)
        if run not in self.loaded_examples:
            self.loaded_examples[run] = await load_examples(loaded)
        return JSONResponse(self.loaded_examples[run])

    # -- images ---------------------------------------------------------------------------------

    async def generate(self, request: Request) -> Response:
        """Stream the progress of a request, and its images. Closing the stream cancels it."""
        fields = await parse_json_body(request, StudioRequest)
        run = self._find_run(fields.run, fields.task)
        prepared = await prepare_request(run, fields)
        path = path_for_commands(run, request)
        return event_stream(stream_generation(run, path, fields, prepared))

    async def fit_input(self, request: Request) -> Response:
        """Return an image as the model sees it, and what was changed."""
        fields = await parse_json_body(request, InputRequest)
        run = self._find_run(fields.run)
        return JSONResponse(await fit_input(fields.image, fields.name, run.info))

    async def reconstruct(self, request: Request) -> Response:
        fields = await parse_json_body(request, InputRequest)
        run = self._find_run(fields.run, "reconstruct")
        work = reconstruct_image(run, await _load_image(fields.image))
        return JSONResponse({"png": to_base64_png(await run_while_connected(request, work))})

    async def caption(self, request: Request) -> Response:
        """Return a caption in each language, and the attention of each token."""
        fields = await parse_json_body(request, InputRequest)
        run = self._find_run(fields.run, "caption")
        work = caption_attention(run, await _load_image(fields.image))
        return JSONResponse(await run_while_connected(request, work))

    # -- latents --------------------------------------------------------------------------------

    async def find_latent(self, request: Request) -> Response:
        """Return the latent of a seed or an image, and its dimensions ordered by their effect."""
        fields = await parse_json_body(request, EncodeRequest)
        run = self._find_run(fields.run, "encode")
        if fields.image:
            z = await encode_image(run, await _load_image(fields.image))
        else:
            z = await sample_latent(run, fields.seed)
        order = await rank_latents(run, z)
        return JSONResponse({"z": [float(v) for v in z.clip(-100, 100)], "order": order})

    async def decode(self, request: Request) -> Response:
        run, z = await self._parse_latent(request)
        work = decode_latent(run, np.array(z, np.float32))
        pixels = await run_while_connected(request, work)
        return Response(to_png(pixels), media_type="image/png")

    async def latent_program(self, request: Request) -> Response:
        """Return the image of a latent, and the program that decodes it."""
        run, z = await self._parse_latent(request)
        png = to_base64_png(await decode_latent(run, np.array(z, np.float32)))
        program = make_latent_program(path_for_commands(run, request), z)
        return JSONResponse({"png": png, "library": program})

    async def _parse_latent(self, request: Request) -> tuple[LoadedRun, list[float]]:
        fields = await parse_json_body(request, LatentRequest)
        run = self._find_run(fields.run, "encode")
        model: CanEncode = run.model
        if len(fields.z) != model.latent_dim:
            raise ApiError(f"This model has {model.latent_dim} latents.", param="z")
        return run, fields.z

    # -- report ---------------------------------------------------------------------------------

    async def report(self, run: str) -> Response:
        """Return the report; nothing (204) if the run has none."""
        content = await asyncio.to_thread(_read_report, self._find_run(run).run.path)
        if content is None:
            return Response(status_code=204, headers=SANDBOXED)
        return HTMLResponse(content, headers=SANDBOXED)

    async def make_report(self, request: Request) -> Response:
        """Write the report of a run, once for all who want it."""
        fields = await parse_json_body(request, RunRequest)
        loaded = self._find_run(fields.run)
        if loaded.name not in self.reports:
            task = asyncio.ensure_future(read_in_thread(_write_report, loaded))
            self.reports[loaded.name] = task
            task.add_done_callback(lambda _: self.reports.pop(loaded.name, None))
        await asyncio.shield(self.reports[loaded.name])
        return JSONResponse({"made": True})

    def _find_run(self, name: str, ability: str | None = None) -> LoadedRun:
        self.models.check_ready(name)
        run = self.models.runs.get(name)
        if run is None or (ability is not None and ability not in run.abilities):
            can = "" if ability is None else f" that supports {ability}"
            raise ApiError(f"There is no run '{truncate(name)}'{can}.", status=404, param="run")
        return run


async def _load_image(url: str) -> UploadedImage:
    return await read_in_thread(RequestImages(ImageSources()).load_url, url, "image")


def _read_report(folder: Path) -> bytes | None:
    """Return a run's report. A link to a file outside the run is none: the run may be a stranger's.

    Raises ApiError for one that is too large to show.
    """
    file = folder / "report.html"
    if not file.is_file() or not file.resolve().is_relative_to(folder.resolve()):
        return None
    with file.open("rb") as stream:
        content = stream.read(MAX_REPORT_BYTES + 1)
    if len(content) > MAX_REPORT_BYTES:
        message = f"The report has more than {MAX_REPORT_BYTES // 2**20} MiB; open its file."
        raise ApiError(message, param="run")
    return content


def _write_report(run: LoadedRun) -> None:
    """Raises ApiError if the report cannot be made or written."""
    try:
        report(run.run)
    except PinxitError as error:
        raise ApiError(f"The report cannot be made: {error}") from None
    except OSError as error:
        log.warning("the report of %s cannot be written: %s", run.name, truncate(error, 300))
        message = f"The report cannot be written: {error.strerror or type(error).__name__}."
        raise ApiError(message, status=500) from None


async def _no_content() -> Response:
    return Response(status_code=204)


async def _docs(app: FastAPI) -> HTMLResponse:
    return HTMLResponse(await render_docs(app))
