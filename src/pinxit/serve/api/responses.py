"""/v1/responses: create, read, delete, cancel."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response

from pinxit.serve.api.sse import streamed, while_connected
from pinxit.serve.dialogue.parse import Turn, checked_mask, understood
from pinxit.serve.dialogue.response import RUNNING, Answer, Event, events, plain
from pinxit.serve.errors import Refusal, short
from pinxit.serve.inference.router import Choice, Painters
from pinxit.serve.media.sources import Sources
from pinxit.serve.schemas import Respond, json_of, whole_list
from pinxit.serve.store import Store


@dataclass(frozen=True)
class Responses:
    """The routes of responses; `work` is what answers: `plain`, or a language model."""

    painters: Painters
    store: Store
    sources: Sources
    work: Callable[[Answer], Awaitable[None]] = plain

    async def create(self, request: Request) -> Response:
        fields = await json_of(request, Respond)
        choice = self.painters.named(fields.model)
        turn = await asyncio.to_thread(understood, fields, self.store, self.sources)
        self._possible(turn, choice)
        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        answer = Answer(turn, choice, queue.put_nowait)
        if fields.stream:
            return streamed(events(answer, queue, self.work, self._keep))
        await while_connected(request, self._whole(answer))
        return JSONResponse(answer.body)

    async def _whole(self, answer: Answer) -> None:
        """Not streamed: what cannot be done is an HTTP error."""
        await self.work(answer)
        answer.finish()
        await self._keep(answer)

    async def _keep(self, answer: Answer) -> None:
        if answer.turn.request.store is not False:
            await asyncio.to_thread(self.store.keep, answer.body, answer.turn.given)

    def _possible(self, turn: Turn, choice: Choice) -> None:
        """Raises Refusal for a mask that does not fit, before any stream is opened."""
        if turn.mask is not None:
            by = choice.able("complete") or choice.among[0]
            checked_mask(turn, by.info)

    async def read(self, response_id: str) -> Response:
        return JSONResponse((await self._found(response_id))[0])

    async def items(self, response_id: str, order: str = "desc", limit: int = 20) -> Response:
        given = (await self._found(response_id))[1]
        data = given if order == "asc" else given[::-1]
        data = data[: max(1, min(limit, 100))]
        return JSONResponse(whole_list(data))

    async def delete(self, response_id: str) -> Response:
        if not await asyncio.to_thread(self.store.forget, response_id):
            raise _missing(response_id)
        return JSONResponse({"id": response_id, "object": "response", "deleted": True})

    async def cancel(self, response_id: str) -> Response:
        """Stops one that is being streamed; one that is done cannot be."""
        task = RUNNING.get(response_id)
        if task is not None:
            task.cancel()
            return JSONResponse({"id": response_id, "object": "response", "status": "cancelled"})
        await self._found(response_id)
        raise Refusal("this response is done: there is nothing to cancel.", param="response_id")

    async def _found(self, name: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        found = await asyncio.to_thread(self.store.response, name)
        if found is None:
            raise _missing(name)
        return found


def _missing(name: str) -> Refusal:
    return Refusal(f"there is no response '{short(name)}' here.", status=404, param="response_id")
