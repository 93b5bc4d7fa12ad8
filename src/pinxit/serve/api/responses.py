"""/v1/responses: create, retrieve, delete, cancel, and the input items."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from fastapi import Request
from fastapi.responses import JSONResponse, Response

from pinxit.serve.api.pages import ItemLimit, Order, select_page
from pinxit.serve.api.sse import event_stream, run_while_connected
from pinxit.serve.dialogue.parse import parse_request
from pinxit.serve.dialogue.response import (
    AnswerFunction,
    Event,
    ResponseBuilder,
    answer_without_llm,
)
from pinxit.serve.dialogue.streaming import ActiveResponses
from pinxit.serve.errors import ApiError, truncate
from pinxit.serve.inference.registry import ModelRegistry
from pinxit.serve.media.sources import ImageSources
from pinxit.serve.schemas import ResponsesRequest, parse_json_body
from pinxit.serve.store import Store, StoredResponse


@dataclass(frozen=True)
class ResponseRoutes:
    """The routes of responses."""

    models: ModelRegistry
    store: Store
    sources: ImageSources
    active: ActiveResponses
    answer: AnswerFunction = answer_without_llm

    async def create(self, request: Request) -> Response:
        fields = await parse_json_body(request, ResponsesRequest)
        router = self.models.find(fields.model)
        parsed = await asyncio.to_thread(parse_request, fields, self.store, self.sources)
        router = self.models.find_tools_model(parsed.tool, router)
        if parsed.mask is not None:
            router.check_mask(parsed.mask)
        events: asyncio.Queue[Event | None] = asyncio.Queue()
        builder = ResponseBuilder(parsed, router, events.put_nowait)
        if fields.stream:
            return event_stream(self.active.stream(builder, events, self.answer, self._save))
        await run_while_connected(request, self._build(builder))
        return JSONResponse(builder.body)

    async def _build(self, builder: ResponseBuilder) -> None:
        """Build a response that is not streamed: an ApiError becomes the HTTP response."""
        await self.answer(builder)
        builder.finish()
        await self._save(builder)

    async def _save(self, builder: ResponseBuilder) -> None:
        if builder.parsed.request.store is not False:
            items = builder.parsed.input_items
            await asyncio.to_thread(self.store.save_response, builder.body, items)

    async def retrieve(self, response_id: str) -> Response:
        return JSONResponse((await self._load(response_id)).body)

    async def list_items(
        self,
        response_id: str,
        limit: ItemLimit = 20,
        after: str | None = None,
        order: Order = "desc",
    ) -> Response:
        items = (await self._load(response_id)).input_items
        return JSONResponse(select_page(items, limit, after, order))

    async def delete(self, response_id: str) -> Response:
        if not await asyncio.to_thread(self.store.delete_response, response_id):
            raise _not_found(response_id)
        return JSONResponse({"id": response_id, "object": "response", "deleted": True})

    async def cancel(self, response_id: str) -> Response:
        """Cancel a response that is being streamed, by this server or by another on the store."""
        cancelled = await self.active.cancel(response_id)
        body = cancelled or (await self._load(response_id)).body
        if body["status"] != "cancelled":
            message = "The response is complete; there is nothing to cancel."
            raise ApiError(message, param="response_id")
        return JSONResponse(body)

    async def _load(self, response_id: str) -> StoredResponse:
        response = await asyncio.to_thread(self.store.load_response, response_id)
        if response is None:
            raise _not_found(response_id)
        return response


def _not_found(response_id: str) -> ApiError:
    message = f"The response '{truncate(response_id)}' does not exist."
    return ApiError(message, status=404, param="response_id")
