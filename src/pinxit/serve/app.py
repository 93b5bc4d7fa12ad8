"""The application: all routes, and a JSON error for every exception."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from prometheus_client import generate_latest
from sqlalchemy.exc import DataError, SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from pinxit.errors import PinxitError
from pinxit.serve import schemas
from pinxit.serve.api.chat import ChatRoutes
from pinxit.serve.api.embeddings import EmbeddingRoutes
from pinxit.serve.api.files import FileRoutes
from pinxit.serve.api.images import ImageRoutes
from pinxit.serve.api.models import ModelRoutes
from pinxit.serve.api.openapi import FILE_FORM, RouteAdder, image_form
from pinxit.serve.api.responses import ResponseRoutes
from pinxit.serve.api.sse import ClientDisconnected
from pinxit.serve.dialogue.response import AnswerFunction, answer_without_llm
from pinxit.serve.dialogue.streaming import ActiveResponses
from pinxit.serve.errors import ApiError, error_body
from pinxit.serve.inference.registry import ModelRegistry
from pinxit.serve.links import PREFIX, FileLinks
from pinxit.serve.media.sources import ImageSources
from pinxit.serve.metrics import Metrics
from pinxit.serve.middleware import AccessRules, RequestMiddleware
from pinxit.serve.store import Store
from pinxit.serve.studio.routes import add_studio

log = logging.getLogger("pinxit.serve")


@dataclass(frozen=True)
class AppSettings:
    """The settings of an application, aside from its models and its store."""

    rules: AccessRules = field(default_factory=AccessRules)
    sources: ImageSources = field(default_factory=ImageSources)
    answer: AnswerFunction = answer_without_llm  # or `LanguageModel.answer`
    with_llm: bool = False  # `answer` is that of a language model
    studio: bool = True
    public_url: str | None = None  # of the server as clients know it, behind a proxy


def create_app(models: ModelRegistry, store: Store, settings: AppSettings | None = None) -> FastAPI:
    """Create the ASGI application. Its shutdown stops the models' workers."""
    settings = settings or AppSettings()
    metrics = Metrics(models)

    active = ActiveResponses(store)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await active.stop()
        models.stop()

    app = FastAPI(
        title="pinxit",
        description="Generate, edit and caption images with your own models, by OpenAI's API.",
        lifespan=lifespan,
        exception_handlers=_exception_handlers(),
        docs_url=None,
        redoc_url=None,
    )
    app.add_middleware(RequestMiddleware, rules=settings.rules, metrics=metrics)  # type: ignore[arg-type]
    _add_openai_routes(app, models, store, settings, active)
    _add_health_routes(app, store, metrics)
    if settings.studio:
        add_studio(app, models)
    return app


def _add_openai_routes(
    app: FastAPI,
    models: ModelRegistry,
    store: Store,
    settings: AppSettings,
    active: ActiveResponses,
) -> None:
    sources, answer = settings.sources, settings.answer
    links = FileLinks(store.load_secret(), settings.public_url)
    responses = ResponseRoutes(models, store, sources, active, answer, settings.with_llm)
    images = ImageRoutes(models, store, sources, links)
    listing, files = ModelRoutes(models), FileRoutes(store, links)
    chat = ChatRoutes(models, store, sources, answer, settings.with_llm)
    embeddings = EmbeddingRoutes(models, sources)
    edit_form = image_form(schemas.EditRequest)
    variation_form = image_form(schemas.VariationRequest)
    add = RouteAdder(app)
    path = "/v1/responses"
    add.post(path, responses.create, "create_response", json=schemas.ResponsesRequest)
    path = "/v1/responses/{response_id}"
    add.get(path, responses.retrieve, "retrieve_response")
    add.delete(path, responses.delete, "delete_response")
    add.get(f"{path}/input_items", responses.list_items, "list_input_items")
    add.post(f"{path}/cancel", responses.cancel, "cancel_response")
    path = "/v1/images"
    add.post(f"{path}/generations", images.generate, "generate", json=schemas.GenerateRequest)
    add.post(f"{path}/edits", images.edit, "edit", json=schemas.EditRequest, form=edit_form)
    add.post(f"{path}/variations", images.vary, "vary", form=variation_form)
    add.get("/v1/models", listing.list, "list_models")
    add.get("/v1/models/{model_id:path}", listing.retrieve, "retrieve_model")
    add.post("/v1/files", files.create, "create_file", form=FILE_FORM)
    add.get("/v1/files", files.list, "list_files")
    path = "/v1/files/{file_id}"
    add.get(path, files.retrieve, "retrieve_file")
    add.get(f"{path}/content", files.content, "file_content")
    add.delete(path, files.delete, "delete_file")
    add.get(PREFIX + "{file_id}", files.content_of_link, "signed_file_content")
    add.post("/v1/chat/completions", chat.create, "create_chat", json=schemas.ChatRequest)
    path = "/v1/embeddings"
    add.post(path, embeddings.create, "create_embeddings", json=schemas.EmbeddingsRequest)


def _add_health_routes(app: FastAPI, store: Store, metrics: Metrics) -> None:
    @app.get("/healthz", tags=["health"])
    @app.get("/health", include_in_schema=False)
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @app.get(
        "/readyz",
        tags=["health"],
        responses={503: {"description": "The store does not answer."}},
    )
    def readyz() -> JSONResponse:
        if store.is_ready():
            return JSONResponse({"status": "ready"})
        return JSONResponse({"status": "the store does not answer"}, 503)

    @app.get("/metrics", tags=["health"], response_class=PlainTextResponse)
    async def show_metrics() -> Response:
        content = generate_latest(metrics.registry)
        return Response(content, media_type="text/plain; version=0.0.4")


def _exception_handlers() -> dict[Any, Any]:
    async def handle_api_error(_: Request, error: ApiError) -> JSONResponse:
        return JSONResponse(error.body, error.status, headers=error.headers)

    async def handle_pinxit_error(_: Request, error: PinxitError) -> JSONResponse:
        return JSONResponse(error_body(400, str(error)), 400)

    async def handle_validation_error(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        param = str(first["loc"][-1])
        body = error_body(400, f"Invalid value for '{param}': {first['msg']}.", param)
        return JSONResponse(body, 400)

    async def handle_http_error(_: Request, error: HTTPException) -> JSONResponse:
        is_unknown = error.status_code == 404
        message = "This route does not exist." if is_unknown else f"{error.detail}."
        body = error_body(error.status_code, message)
        return JSONResponse(body, error.status_code, headers=error.headers)

    async def handle_store_error(_: Request, error: SQLAlchemyError) -> JSONResponse:
        log.error("the store failed: %s", type(error).__name__)
        body = error_body(503, "The store does not answer; retry in 2 s.")
        return JSONResponse(body, 503, headers={"Retry-After": "2"})

    async def handle_data_error(_: Request, error: DataError) -> JSONResponse:
        body = error_body(400, "A text of the request cannot be stored or searched for.")
        return JSONResponse(body, 400)

    async def handle_disconnect(
        _: Request, error: ClientDisconnected | ClientDisconnect
    ) -> Response:
        return Response(status_code=499)  # for the log only

    return {
        ApiError: handle_api_error,
        PinxitError: handle_pinxit_error,
        RequestValidationError: handle_validation_error,
        HTTPException: handle_http_error,
        DataError: handle_data_error,
        SQLAlchemyError: handle_store_error,
        ClientDisconnected: handle_disconnect,
        ClientDisconnect: handle_disconnect,  # before the body had come
    }
