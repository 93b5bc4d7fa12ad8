"""/v1/responses: create, retrieve, delete, cancel, and the input items."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response

from pinxit.serve.api.image_json import image_response
from pinxit.serve.api.pages import ItemLimit, Order, select_page
from pinxit.serve.api.sse import event_stream, run_while_connected
from pinxit.serve.dialogue.event_log import LAST_EVENTS, Event, EventLog, replay_events
from pinxit.serve.dialogue.parse import parse_request
from pinxit.serve.dialogue.response import (
    AnswerFunction,
    EmitEvent,
    ResponseBuilder,
    answer_without_llm,
)
from pinxit.serve.dialogue.streaming import POLL_SECONDS, ActiveResponses
from pinxit.serve.errors import ApiError, truncate
from pinxit.serve.inference.registry import ModelRegistry
from pinxit.serve.inference.router import Router
from pinxit.serve.media.sources import ImageSources, RequestImages
from pinxit.serve.pools import read_in_thread_if, work_on_images
from pinxit.serve.schemas import ResponsesRequest
from pinxit.serve.store import Store, StoredResponse
from pinxit.serve.validation import parse_json_body


@dataclass(frozen=True)
class ResponseRoutes:
    """The routes of responses."""

    models: ModelRegistry
    store: Store
    sources: ImageSources
    active: ActiveResponses
    answer: AnswerFunction = answer_without_llm
    with_llm: bool = False

    async def create(self, request: Request) -> Response:
        fields = await parse_json_body(request, ResponsesRequest)
        router = self.models.find(fields.model)
        if fields.background and fields.store is False:
            message = "A background response is stored: 'store' must not be false."
            raise ApiError(message, param="background")
        if not (fields.stream or fields.background):
            builder = await run_while_connected(request, self._answer(fields, router))
            return image_response(builder.body)
        events = EventLog()
        preparation = self._prepare(fields, router, events.append)
        builder = await run_while_connected(request, preparation)
        if fields.background:  # before the client has its id
            await asyncio.to_thread(self.store.add_active, builder.id)
            await self._save(builder)
        active = self.active.start(builder, events, self.answer, self._save)
        if fields.stream:
            return event_stream(self.active.stream(active))
        return image_response(builder.body)

    async def _prepare(
        self, fields: ResponsesRequest, router: Router, emit: EmitEvent | None
    ) -> ResponseBuilder:
        """Load and decode what the request refers to."""
        loader = RequestImages(self.sources, self.store)
        needs_no_store = isinstance(fields.input, str) and fields.previous_response_id is None
        has_mask = any("input_image_mask" in tool for tool in fields.tools or [])
        parsed = await read_in_thread_if(
            not needs_no_store or has_mask,
            parse_request,
            fields,
            self.store,
            loader,
            with_llm=self.with_llm,
        )
        router = self.models.find_tools_model(parsed.tool, router)
        if parsed.mask is not None:
            await work_on_images(router.check_mask, parsed.mask)
        builder = ResponseBuilder(parsed, router, emit, with_llm=self.with_llm)
        await builder.prepare()
        return builder

    async def _answer(self, fields: ResponsesRequest, router: Router) -> ResponseBuilder:
        """Build a response that is not streamed: an ApiError becomes the HTTP response."""
        builder = await self._prepare(fields, router, None)
        await self.answer(builder)
        builder.finish()
        await self._save(builder, is_new=True)
        return builder

    async def _save(self, builder: ResponseBuilder, *, is_new: bool = False) -> None:
        if builder.parsed.request.store is not False:
            items, body = builder.parsed.input_items, builder.body
            is_known = body["background"] and body["status"] in LAST_EVENTS  # or was deleted since
            save = self.store.save_response
            await asyncio.to_thread(save, body, items, must_exist=is_known, is_new=is_new)

    async def retrieve(
        self, response_id: str, stream: bool = False, starting_after: int = -1
    ) -> Response:
        """Return a response as it is now, or its events from the one after `starting_after` on."""
        events = self.active.read(response_id, starting_after) if stream else None
        if events is not None:
            return event_stream(events)
        body = (await self._load(response_id)).body
        if not stream:
            return image_response(body)
        return event_stream(self._replay(body, starting_after))

    async def _replay(self, body: dict[str, Any], after: int) -> AsyncIterator[Event]:
        """Yield the events of a response of the store, once it has ended; the last in any case."""
        while body["status"] not in LAST_EVENTS:  # another server builds it
            await asyncio.sleep(POLL_SECONDS)
            body = (await self._load(body["id"])).body
        *events, last = replay_events(body)
        for event in events:
            if event["sequence_number"] > after:
                yield event
        yield last

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
        self.active.forget(response_id)
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
        body = await self.active.load_body(response.body)
        return response._replace(body=body)


def _not_found(response_id: str) -> ApiError:
    message = f"The response '{truncate(response_id)}' does not exist."
    return ApiError(message, status=404, param="response_id")
