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
from pinxit.serve import fields
from pinxit.serve.answers import Answer, plain
from pinxit.serve.conversation import Sources
from pinxit.serve.gate import Figures, Gate, Rules, log
from pinxit.serve.more_api import Chats, Embeddings, Files, Models
from pinxit.serve.painters import Painters
from pinxit.serve.pictures_api import ImageRoutes
from pinxit.serve.refusals import Refusal, error_body
from pinxit.serve.responses_api import Responses
from pinxit.serve.store import Store
from pinxit.serve.streams import Left


@dataclass(frozen=True)
class Settings:
    """How a server runs, beside its runs and its store."""

    rules: Rules = field(default_factory=Rules)
    sources: Sources = field(default_factory=Sources)
    work: Callable[[Answer], Awaitable[None]] = plain
    studio: bool = True


def application(painters: Painters, store: Store, settings: Settings | None = None) -> FastAPI:
    """The ASGI application. It stops its painters' workers when it is shut down."""
    settings = settings or Settings()
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
        from pinxit.serve.studio import add_studio

        add_studio(app, painters)
    return app


def _add_routes(app: FastAPI, painters: Painters, store: Store, settings: Settings) -> None:
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


@dataclass(frozen=True)
class _Adding:
    """Routes with what the OpenAPI document says of their bodies and errors."""

    app: FastAPI

    def get(self, path: str, run: Any, name: str | None = None) -> None:
        self._add("GET", path, run, None, name)

    def delete(self, path: str, run: Any) -> None:
        self._add("DELETE", path, run, None, None)

    def post(
        self, path: str, run: Any, kind: type[fields.Fields] | None = None, *,
        form: bool = False, only_form: bool = False,
    ) -> None:  # fmt: skip
        body: dict[str, Any] = {}
        if kind is not None and not only_form:
            body["application/json"] = {"schema": _schema(kind)}
        if form:
            body["multipart/form-data"] = {"schema": _form_schema(kind)}
        self._add("POST", path, run, body or None, None)

    def _add(
        self, method: str, path: str, run: Any, body: dict[str, Any] | None, name: str | None
    ) -> None:
        extra = {"requestBody": {"content": body, "required": True}} if body else None
        kind = f"{type(run.__self__).__name__} {run.__name__}"
        self.app.add_api_route(
            path,
            run,
            methods=[method],
            name=name or kind.lower().replace(" ", "_"),
            openapi_extra=extra,
            responses=_errors(),
            response_class=JSONResponse,
            response_model=None,
            tags=["openai"],
        )


def _schema(kind: type[fields.Fields]) -> dict[str, Any]:
    """A body's schema, with what it refers to written out in its place."""
    schema = kind.model_json_schema()
    named = schema.pop("$defs", {})

    def whole(part: Any) -> Any:
        if isinstance(part, dict):
            if "$ref" in part:
                return whole(named[part["$ref"].rsplit("/", 1)[-1]])
            return {name: whole(value) for name, value in part.items()}
        return [whole(one) for one in part] if isinstance(part, list) else part

    return whole(schema)


def _form_schema(kind: type[fields.Fields] | None) -> dict[str, Any]:
    file = {"type": "string", "format": "binary"}
    if kind is None:
        named = {"file": file, "purpose": {"type": "string", "minLength": 1}}
        return {"type": "object", "properties": named, "required": ["file", "purpose"]}
    schema = _schema(kind)
    own = {name: one for name, one in schema["properties"].items() if name != "images"}
    required = [*schema.get("required", []), "image"]
    return {
        "type": "object",
        "properties": {**own, "image": file, "mask": file},
        "required": required,
    }


def _errors() -> dict[int | str, dict[str, Any]]:
    keys = {name: {"type": ["string", "null"]} for name in ("param", "code")}
    text = {"type": "string"}
    one = {
        "type": "object",
        "properties": {"message": text, "type": text, **keys},
        "required": ["message", "type", "param", "code"],
    }
    schema = {"type": "object", "properties": {"error": one}, "required": ["error"]}
    content = {"application/json": {"schema": schema}}
    said = {
        400: "Something in the request cannot be.",
        401: "The key is missing or wrong.",
        403: "The host name is not served.",
        404: "What is named is not there.",
        413: "The request is too large.",
        415: "The body is of another type.",
        422: "Something in the request cannot be.",
        429: "Too many wait.",
    }
    return {status: {"description": text, "content": content} for status, text in said.items()}


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
