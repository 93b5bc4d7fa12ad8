"""The routes of the studio page: its files, the data of its tabs, and /docs."""

from __future__ import annotations

import base64
import html
import shlex
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from pydantic import Field, StrictInt, StrictStr

from pinxit.data.images import Images
from pinxit.models.generation import GenerationParams
from pinxit.models.protocols import CanEncode, HasLabels, HasText
from pinxit.nn.rng import mix_seed
from pinxit.serve.errors import ApiError, truncate
from pinxit.serve.inference.loading import LoadedRun
from pinxit.serve.inference.registry import ModelRegistry
from pinxit.serve.inference.router import Router
from pinxit.serve.media.sources import ImageSources
from pinxit.serve.pools import work_on_images
from pinxit.serve.schemas import RequestSeed, Schema
from pinxit.serve.studio.attention import caption_attention
from pinxit.serve.studio.latents import decode_latent, sample_latent
from pinxit.serve.studio.training import add_training, add_trainings
from pinxit.serve.validation import parse_json_body

STATIC = Path(__file__).parent / "static"
MEDIA_TYPES = {".js": "text/javascript", ".css": "text/css"}

SANDBOXED = {"Content-Security-Policy": "sandbox; script-src 'none'"}

LatentValue = Annotated[float, Field(ge=-100, le=100, allow_inf_nan=False)]


class SampleRequest(Schema):
    """Samples for the grid."""

    run: StrictStr
    n: Annotated[StrictInt, Field(ge=1, le=64)] = 24
    seed: RequestSeed = 0
    temperature: Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)] = 1.0
    label: StrictStr = ""


class DecodeRequest(Schema):
    """A latent to decode."""

    run: StrictStr
    z: Annotated[list[LatentValue], Field(min_length=1, max_length=4096)]


class CaptionRequest(Schema):
    """An image, as a data URL, to caption."""

    run: StrictStr
    image: StrictStr


def add_studio(app: FastAPI, models: ModelRegistry) -> None:
    """Add the page at `/` and the routes it uses."""
    add = partial(app.add_api_route, include_in_schema=False, response_model=None)
    studio = StudioRoutes(models)
    add("/", studio.page, response_class=HTMLResponse)
    add("/docs", partial(_render_docs, app), response_class=HTMLResponse)
    add("/favicon.ico", _no_content)
    add("/studio/static/{name}", studio.static_file)
    add("/studio/data/runs", studio.list_runs)
    add("/studio/data/samples", studio.sample, methods=["POST"])
    add("/studio/data/latents", studio.sample_latent)
    add("/studio/data/decode", studio.decode, methods=["POST"])
    add("/studio/data/captions", studio.caption, methods=["POST"])
    add("/studio/data/report", studio.report, response_class=HTMLResponse)
    add_training(add, models)


@dataclass(frozen=True)
class StudioRoutes:
    """Routes of the page beyond the OpenAI API."""

    models: ModelRegistry

    async def page(self) -> Response:
        return HTMLResponse((STATIC / "page.html").read_text(encoding="utf-8"))

    async def static_file(self, name: str) -> Response:
        file = next((file for file in STATIC.iterdir() if file.name == name), None)
        if file is None or file.suffix not in MEDIA_TYPES:
            raise ApiError("This file does not exist.", status=404)
        return Response(file.read_bytes(), media_type=MEDIA_TYPES[file.suffix])

    async def list_runs(self) -> Response:
        records = [_to_record(run) for run in self.models.runs.values()]
        return JSONResponse(add_trainings(records, self.models))

    async def sample(self, request: Request) -> Response:
        """Return samples, each as a PNG in base64."""
        fields = await parse_json_body(request, SampleRequest)
        router = Router([self._find_run(fields.run, "sample")])
        params = GenerationParams(seed=fields.seed, temperature=fields.temperature)
        result = await router.generate(router.prepare(fields.label, params, n=fields.n))
        return JSONResponse({"images": [_to_base64_png(pixels) for pixels in result.images]})

    async def sample_latent(self, run: str, seed: int = 0) -> Response:
        """Return a latent of the prior, and its dimensions ordered by their effect."""
        loaded = self._find_run(run, "encode")
        z, order = await sample_latent(loaded, mix_seed(abs(seed) % 2**53, 0))
        return JSONResponse({"z": z, "order": order})

    async def decode(self, request: Request) -> Response:
        fields = await parse_json_body(request, DecodeRequest)
        run = self._find_run(fields.run, "encode")
        model: CanEncode = run.model
        if len(fields.z) != model.latent_dim:
            raise ApiError(f"This model has {model.latent_dim} latents.", param="z")
        pixels = await decode_latent(run, np.array(fields.z, np.float32))
        return Response(_to_png(pixels), media_type="image/png")

    async def caption(self, request: Request) -> Response:
        """Return a caption in each language, and the attention of each token."""
        fields = await parse_json_body(request, CaptionRequest)
        run = self._find_run(fields.run, "caption")
        source = await work_on_images(ImageSources().load_url, fields.image, "image")
        image = _to_base64_png(await work_on_images(source.fit_to, run.info))
        return JSONResponse({"image": image, **await caption_attention(run, source)})

    async def report(self, run: str) -> Response:
        loaded = self._find_run(run)
        file = loaded.run.path / "report.html"
        if file.is_file():  # of a run that may be a stranger's: it runs no script
            return HTMLResponse(file.read_text(encoding="utf-8"), headers=SANDBOXED)
        command = html.escape(f"pinxit report {shlex.quote(_display_path(loaded))}")
        text = f"<p>This run has no report yet. To make one: <code>{command}</code></p>"
        body = f"<body style='font:16px system-ui;color:#777'>{text}"
        return HTMLResponse(body, headers=SANDBOXED)

    def _find_run(self, name: str, ability: str | None = None) -> LoadedRun:
        self.models.check_ready(name)
        run = self.models.runs.get(name)
        if run is None or (ability is not None and ability not in run.abilities):
            can = "" if ability is None else f" that supports {ability}"
            raise ApiError(f"There is no run '{truncate(name)}'{can}.", status=404, param="run")
        return run


def _display_path(run: LoadedRun) -> str:
    """Return the path for commands; of an absolute one, which may be private, the name only."""
    path = run.run.path
    return path.name if path.is_absolute() else str(path)


def _to_record(run: LoadedRun) -> dict[str, Any]:
    model = run.model
    is_conditional = isinstance(model, HasLabels) and model.label_conditional
    return {
        "name": run.name,
        "path": _display_path(run),
        "family": run.run.family,
        "width": run.info.width,
        "height": run.info.height,
        "abilities": run.abilities,
        "labels": list(run.info.label_names) if is_conditional else [],
        "languages": list(model.text_tokenizer.languages) if isinstance(model, HasText) else [],
        "latents": model.latent_dim if isinstance(model, CanEncode) else 0,
    }


def _to_png(pixels: np.ndarray) -> bytes:
    return Images(np.ascontiguousarray(pixels)[None]).to_png()


def _to_base64_png(pixels: np.ndarray) -> str:
    return base64.b64encode(_to_png(pixels)).decode()


async def _no_content() -> Response:
    return Response(status_code=204)


async def _render_docs(app: FastAPI) -> Response:
    """Render the OpenAPI document as a page without scripts."""
    sections = []
    for path, methods in app.openapi()["paths"].items():
        for method, operation in methods.items():
            body = operation.get("requestBody", {}).get("content", {})
            fields = [
                f"<li><code>{html.escape(name)}</code> {html.escape(_type_name(field))}</li>"
                for media in body.values()
                for name, field in media["schema"].get("properties", {}).items()
            ]
            title = f"<h2><b>{method.upper()}</b> {html.escape(path)}</h2>"
            items = "".join(dict.fromkeys(fields))  # JSON and form share most fields
            sections.append(title + (f"<ul>{items}</ul>" if items else ""))
    head = "<!doctype html><html lang=en><meta charset=utf-8><title>pinxit API</title>"
    head += "<meta name=viewport content='width=device-width, initial-scale=1'>"
    style = "<link rel=stylesheet href=/studio/static/page.css><main class=docs>"
    intro = "<h1>API</h1><p>OpenAI's routes. Schema: <a href=/openapi.json>openapi.json</a></p>"
    return HTMLResponse(f"{head}{style}{intro}{''.join(sections)}</main></html>")


def _type_name(field: dict[str, Any]) -> str:
    names = [
        ", ".join(map(str, kind["enum"])) if "enum" in kind else str(kind.get("type", ""))
        for kind in (field, *field.get("anyOf", []))
    ]
    return " or ".join(name for name in names if name and name != "null")
