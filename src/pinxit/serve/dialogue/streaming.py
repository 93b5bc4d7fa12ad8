"""Stream a response while it is built, and cancel it: from any server on the same store.

The application owns one `ActiveResponses`, which also records each active response in the store.
To cancel a response of another server, a server marks it in the store; the server that streams it
polls the store every `CANCEL_POLL_SECONDS` and stops.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

from sqlalchemy.exc import SQLAlchemyError

from pinxit.serve.dialogue.response import AnswerFunction, Event, ResponseBuilder
from pinxit.serve.errors import ApiError
from pinxit.serve.store import Store

CANCEL_POLL_SECONDS = 1.0
MAX_CANCEL_SECONDS = 10.0  # until another server has stopped

SaveFunction = Callable[[ResponseBuilder], Awaitable[None]]

log = logging.getLogger("pinxit.serve")


class ActiveResponse(NamedTuple):
    """A response that is being built, and the task that builds it."""

    builder: ResponseBuilder
    task: asyncio.Future[None]


class ActiveResponses:
    """The responses that this application streams."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.active: dict[str, ActiveResponse] = {}

    async def cancel(self, response_id: str) -> dict[str, Any] | None:
        """Cancel a response, here or on another server, and return it; None if it is not active."""
        active = self.active.get(response_id)
        if active is not None:
            _cancel(active.builder, active.task)
            await asyncio.wait({active.task})
            return active.builder.body
        if not await asyncio.to_thread(self.store.cancel_active, response_id):
            return None
        for _ in range(round(MAX_CANCEL_SECONDS / CANCEL_POLL_SECONDS)):
            await asyncio.sleep(CANCEL_POLL_SECONDS)
            stored = await asyncio.to_thread(self.store.load_response, response_id)
            if stored is not None:
                return stored.body
        raise ApiError("The server that streams this response does not answer.", status=503)

    async def stream(
        self,
        builder: ResponseBuilder,
        events: asyncio.Queue[Event | None],
        answer: AnswerFunction,
        save: SaveFunction,
    ) -> AsyncIterator[Event]:
        """Yield the events of a response. Closing the iterator stops the work."""
        task = asyncio.ensure_future(self._build(builder, events, answer, save))
        self.active[builder.id] = ActiveResponse(builder, task)
        poll = asyncio.ensure_future(self._poll_cancelled(builder, task))
        try:
            while (event := await events.get()) is not None:
                yield event
        finally:
            del self.active[builder.id]
            poll.cancel()
            task.cancel()

    async def _build(
        self,
        builder: ResponseBuilder,
        events: asyncio.Queue[Event | None],
        answer: AnswerFunction,
        save: SaveFunction,
    ) -> None:
        is_stored = builder.parsed.request.store is not False  # else no other server knows it
        try:
            if is_stored:
                await self._record(self.store.add_active, builder.id)
            builder.start()
            await answer(builder)
            builder.finish()
            await save(builder)
            builder.emit_completed()
        except ApiError as error:
            builder.fail(error.code or "server_error", str(error))
        except asyncio.CancelledError:
            builder.cancel()
            if builder.is_cancelled_by_client:
                await save(builder)
        except Exception:
            log.exception("response %s failed", builder.id)
            builder.fail("server_error", "The image could not be generated.")
        finally:
            try:
                if is_stored:
                    await self._record(self.store.remove_active, builder.id)
            finally:
                events.put_nowait(None)

    async def _record(self, write: Callable[[str], None], response_id: str) -> None:
        """Write to the store. If it fails, the response can be cancelled on this server only."""
        try:
            await asyncio.to_thread(write, response_id)
        except SQLAlchemyError as error:
            log.error("the store failed: %s", type(error).__name__)

    async def _poll_cancelled(self, builder: ResponseBuilder, task: asyncio.Future[None]) -> None:
        await asyncio.sleep(CANCEL_POLL_SECONDS)
        while not await self._is_cancelled(builder.id):
            await asyncio.sleep(CANCEL_POLL_SECONDS)
        _cancel(builder, task)

    async def _is_cancelled(self, response_id: str) -> bool:
        try:
            return await asyncio.to_thread(self.store.is_cancelled, response_id)
        except SQLAlchemyError:
            return False


def _cancel(builder: ResponseBuilder, task: asyncio.Future[None]) -> None:
    builder.is_cancelled_by_client = True
    task.cancel()
