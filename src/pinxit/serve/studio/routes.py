"""The routes of the studio page."""

from __future__ import annotations

import base64
import html
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from pydantic import Field, StrictInt, StrictStr

from pinxit.data.images import Images
from pinxit.models.protocols import CanEncode, HasLabels, HasText
from pinxit.nn.rng import mix_seed
from pinxit.serve.errors import Refusal, short
from pinxit.serve.inference.registry import Served
from pinxit.serve.inference.requests import Ask
from pinxit.serve.inference.router import Choice, Painters
from pinxit.serve.inference.tasks import decoded, latents_of
from pinxit.serve.media.sources import Sources
from pinxit.serve.schemas import Fields, json_of
from pinxit.serve.studio.attention import caption_attention

HERE = Path(__file__).parent

KINDS = {"page.js": "text/javascript", "page.css": "text/css"}

Share = Annotated[float, Field(ge=-100, le=100, allow_inf_nan=False)]


class Wall(Fields):
    """Samples that are asked for."""

    run: StrictStr
    n: Annotated[StrictInt, Field(ge=1, le=64)] = 24
    seed: Annotated[StrictInt, Field(ge=0, le=2**53)] = 0
    temperature: Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)] = 1.0
    label: StrictStr = ""


class Latent(Fields):
    """A latent to decode."""

    run: StrictStr
    z: Annotated[list[Share], Field(min_length=1, max_length=4096)]


class Shown(Fields):
    """An image to put into words."""

    run: StrictStr
    image: StrictStr


def add_studio(app: FastAPI, painters: Painters) -> None:
    """The page at `/` and what it asks for."""
    add = partial(app.add_api_route, include_in_schema=False, response_model=None)
    studio = Studio(painters)
    add("/", studio.page, response_class=HTMLResponse)
    add("/docs", partial(_documents, app), response_class=HTMLResponse)
    add("/favicon.ico", _nothing)
    add("/studio/{name}", studio.file)
    add("/studio/data/runs", studio.runs)
    add("/studio/data/wall", studio.wall, methods=["POST"])
    add("/studio/data/latents", studio.latents)
    add("/studio/data/decode", studio.decode, methods=["POST"])
    add("/studio/data/captions", studio.captions, methods=["POST"])
    add("/studio/data/report", studio.report, response_class=HTMLResponse)


class Studio:
    """What the page asks for beside the API that every program has."""

    def __init__(self, painters: Painters) -> None:
        self.painters = painters

    async def page(self) -> Response:
        return HTMLResponse((HERE / "page.html").read_text())

    async def file(self, name: str) -> Response:
        if name not in KINDS:
            raise Refusal("there is no such file.", status=404)
        return Response((HERE / name).read_bytes(), media_type=KINDS[name])

    async def runs(self) -> Response:
        return JSONResponse([_record(one) for one in self.painters.served.values()])

    async def wall(self, request: Request) -> Response:
        """Samples, each as a PNG in base64."""
        asked = await json_of(request, Wall)
        by = self._served(asked.run, "sample")
        ask = Ask(asked.label, asked.n, asked.seed, how=(("temperature", asked.temperature),))
        painted = await Choice([by]).paint(ask)
        return JSONResponse({"images": [_png(pixels) for pixels in painted.pixels]})

    async def latents(self, run: str, seed: int = 0) -> Response:
        """A latent of the prior, and the latents by how much they move an image."""
        by = self._served(run, "encode")
        z, order = await latents_of(by, mix_seed(abs(seed) % 2**53, 0))
        return JSONResponse({"z": z, "order": order})

    async def decode(self, request: Request) -> Response:
        asked = await json_of(request, Latent)
        by = self._served(asked.run, "encode")
        if len(asked.z) != by.model.config.latent_dim:
            raise Refusal(f"latents here have {by.model.config.latent_dim} numbers.", param="z")
        pixels = await decoded(by, np.array(asked.z, np.float32))
        return Response(base64.b64decode(_png(pixels)), media_type="image/png")

    async def captions(self, request: Request) -> Response:
        """An image in each language, and where each word looked."""
        asked = await json_of(request, Shown)
        by = self._served(asked.run, "caption")
        source = Sources().of_url(asked.image, "image")
        return JSONResponse(
            {"image": _png(source.fitted(by.info)), **await caption_attention(by, source)}
        )

    async def report(self, run: str) -> Response:
        by = self._served(run)
        file = by.run.path / "report.html"
        if file.is_file():
            return HTMLResponse(file.read_text())
        command = html.escape(f"pinxit report {by.run.name}")
        return HTMLResponse(
            "<body style='font:16px system-ui;color:#777'>"
            f"<p>This run has no report yet: <code>{command}</code></p>"
        )

    def _served(self, name: str, ability: str | None = None) -> Served:
        by = self.painters.served.get(name)
        if by is None or (ability is not None and ability not in by.abilities):
            raise Refusal(f"there is no run '{short(name)}' for that.", status=404, param="run")
        return by


def _record(by: Served) -> dict[str, Any]:
    model = by.model
    sees_labels = isinstance(model, HasLabels) and model.label_conditional
    return {
        "name": by.name,
        "path": str(by.run.path) if not by.run.path.is_absolute() else by.run.path.name,
        "family": by.run.family,
        "width": by.info.width,
        "height": by.info.height,
        "abilities": by.abilities,
        "labels": list(by.info.label_names) if sees_labels else [],
        "languages": list(model.text_tokenizer.languages) if isinstance(model, HasText) else [],
        "latents": model.latent_dim if isinstance(model, CanEncode) else 0,
    }


def _png(pixels: np.ndarray) -> str:
    return base64.b64encode(Images(np.ascontiguousarray(pixels)[None]).to_png()).decode()


async def _nothing() -> Response:
    return Response(status_code=204)


async def _documents(app: FastAPI) -> Response:
    """The API's documentation, from its own OpenAPI document, without a script."""
    rows = []
    for path, ways in app.openapi()["paths"].items():
        for way, about in ways.items():
            body = about.get("requestBody", {}).get("content", {})
            fields = [
                f"<li><code>{html.escape(name)}</code> {html.escape(_kind(field))}</li>"
                for media in body.values()
                for name, field in media["schema"].get("properties", {}).items()
            ]
            title = f"<h2><b>{way.upper()}</b> {html.escape(path)}</h2>"
            rows.append(title + (f"<ul>{''.join(dict.fromkeys(fields))}</ul>" if fields else ""))
    head = "<!doctype html><html lang=en><meta charset=utf-8><title>pinxit API</title>"
    style = "<link rel=stylesheet href=/studio/page.css><main class=docs>"
    intro = "<h1>The API</h1><p>As OpenAI has it. <a href=/openapi.json>openapi.json</a></p>"
    return HTMLResponse(f"{head}{style}{intro}{''.join(rows)}</main></html>")


def _kind(field: dict[str, Any]) -> str:
    kinds = [field, *field.get("anyOf", [])]
    found = [
        ", ".join(map(str, kind["enum"])) if "enum" in kind else str(kind.get("type", ""))
        for kind in kinds
    ]
    return " or ".join(one for one in found if one and one != "null")
