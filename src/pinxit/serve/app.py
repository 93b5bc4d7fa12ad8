"""The server: every route, and what turns whatever goes wrong into an answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from prometheus_client import generate_latest
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from pinxit.errors import PinxitError
from pinxit.serve import schemas as fields
from pinxit.serve.api.chat import Chats
from pinxit.serve.api.embeddings import Embeddings
from pinxit.serve.api.files import Files
from pinxit.serve.api.images import ImageRoutes
from pinxit.serve.api.models import Models
from pinxit.serve.api.openapi import _Adding
from pinxit.serve.api.responses import Responses
from pinxit.serve.api.sse import Left
from pinxit.serve.dialogue.response import Answer, plain
from pinxit.serve.errors import Refusal, error_body
from pinxit.serve.inference.router import Painters
from pinxit.serve.media.sources import Sources
from pinxit.serve.metrics import Figures
from pinxit.serve.middleware import Gate, Rules, log
from pinxit.serve.store import Store


@dataclass(frozen=True)
class ServerSettings:
    """How a server runs, beside its runs and its store."""

    rules: Rules = field(default_factory=Rules)
    sources: Sources = field(default_factory=Sources)
    work: Callable[[Answer], Awaitable[None]] = plain
    studio: bool = True


def application(
    painters: Painters, store: Store, settings: ServerSettings | None = None
) -> FastAPI:
    """The ASGI application. It stops its painters' workers when it is shut down."""
    settings = settings or ServerSettings()
    figures = Figures()
    figures.watch(painters)

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        yield
        painters.stop()

    app = FastAPI(
        title="pinxit",
        description="Images from words, from nothing and from images, by the OpenAI API.",
        lifespan=life,
        exception_handlers=_handlers(),
        docs_url=None,
        redoc_url=None,
    )
    app.add_middleware(Gate, rules=settings.rules, figures=figures)  # type: ignore[arg-type]
    _add_routes(app, painters, store, settings)
    _add_health(app, store, figures)
    if settings.studio:
        from pinxit.serve.studio.routes import add_studio

        add_studio(app, painters)
    return app


def _add_routes(app: FastAPI, painters: Painters, store: Store, settings: ServerSettings) -> None:
    sources, work = settings.sources, settings.work
    responses = Responses(painters, store, sources, work)
    images = ImageRoutes(painters, store, sources)
    models, files = Models(painters), Files(store)
    chats, embeddings = Chats(painters, store, sources, work), Embeddings(painters, sources)
    add = _Adding(app)
    add.post("/v1/responses", responses.create, fields.Respond)
    add.get("/v1/responses/{response_id}", responses.read)
    add.delete("/v1/responses/{response_id}", responses.delete)
    add.get("/v1/responses/{response_id}/input_items", responses.items)
    add.post("/v1/responses/{response_id}/cancel", responses.cancel)
    add.post("/v1/images/generations", images.generate, fields.Generate)
    add.post("/v1/images/edits", images.edit, fields.EditImages, form=True)
    add.post("/v1/images/variations", images.vary, fields.Vary, form=True, only_form=True)
    add.get("/v1/models", models.all)
    add.get("/v1/models/{model_id:path}", models.one)
    add.post("/v1/files", files.create, form=True, only_form=True)
    add.get("/v1/files", files.all)
    add.get("/v1/files/{file_id}", files.one)
    add.get("/v1/files/{file_id}/content", files.content, name="file_content")
    add.delete("/v1/files/{file_id}", files.delete)
    add.post("/v1/chat/completions", chats.create, fields.Chat)
    add.post("/v1/embeddings", embeddings.create, fields.Embed)


def _add_health(app: FastAPI, store: Store, figures: Figures) -> None:
    @app.get("/healthz", tags=["health"])
    @app.get("/health", include_in_schema=False)
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/readyz", tags=["health"], responses={503: {"description": "no store"}})
    def readyz() -> JSONResponse:
        ready = store.answers()
        said = "ready" if ready else "the store does not answer"
        return JSONResponse({"status": said}, 200 if ready else 503)

    @app.get("/metrics", tags=["health"], response_class=PlainTextResponse)
    async def metrics() -> Response:
        return Response(generate_latest(figures.registry), media_type="text/plain; version=0.0.4")


def _handlers() -> dict[Any, Any]:
    async def refused(_: Request, error: Refusal) -> JSONResponse:
        return JSONResponse(error.body, error.status, headers=error.headers)

    async def unfit(_: Request, error: PinxitError) -> JSONResponse:
        return JSONResponse(error_body(400, str(error)), 400)

    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        param = str(first["loc"][-1])
        return JSONResponse(error_body(400, f"'{param}': {first['msg']}.", param), 400)

    async def http(_: Request, error: HTTPException) -> JSONResponse:
        message = f"{error.detail}." if error.status_code != 404 else "there is no such route."
        body = error_body(error.status_code, message)
        return JSONResponse(body, error.status_code, headers=error.headers)

    async def stored(_: Request, error: SQLAlchemyError) -> JSONResponse:
        log.error("the store failed: %s", type(error).__name__)
        body = error_body(503, "the store does not answer; try again in a moment.")
        return JSONResponse(body, 503, headers={"Retry-After": "2"})

    async def left(_: Request, error: Left) -> Response:
        return Response(status_code=499)  # nobody reads it

    return {
        Refusal: refused,
        PinxitError: unfit,
        RequestValidationError: invalid,
        HTTPException: http,
        SQLAlchemyError: stored,
        Left: left,
    }
