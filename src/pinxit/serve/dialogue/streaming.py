"""Stream a response while it is built, and cancel it: from any server on the same store.

The application owns one `ActiveResponses`, which also records each active response in the store.
To cancel a response of another server, a server marks it in the store; the server that streams it
polls the store every `CANCEL_POLL_SECONDS` and stops.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

from sqlalchemy.exc import SQLAlchemyError

from pinxit.serve.dialogue.response import AnswerFunction, Event, ResponseBuilder
from pinxit.serve.errors import ApiError
from pinxit.serve.store import Store

CANCEL_POLL_SECONDS = 1.0

log = logging.getLogger("pinxit.serve")


class ActiveResponses:
    """The responses that this application streams."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.active_tasks: dict[str, asyncio.Future[None]] = {}

    async def cancel(self, response_id: str) -> bool:
        """Cancel a response, here or on another server. Return False if it is not active."""
        task = self.active_tasks.get(response_id)
        if task is not None:
            task.cancel()
            return True
        return await asyncio.to_thread(self.store.cancel_active, response_id)

    async def stream(
        self,
        builder: ResponseBuilder,
        events: asyncio.Queue[Event | None],
        answer: AnswerFunction,
        save: Callable[[ResponseBuilder], Awaitable[None]],
    ) -> AsyncIterator[Event]:
        """Yield the events of a response. Closing the iterator stops the work."""
        task = asyncio.ensure_future(self._build(builder, events, answer, save))
        self.active_tasks[builder.id] = task
        poll = asyncio.ensure_future(self._poll_cancelled(builder.id, task))
        try:
            while (event := await events.get()) is not None:
                yield event
        finally:
            del self.active_tasks[builder.id]
            poll.cancel()
            task.cancel()

    async def _build(
        self,
        builder: ResponseBuilder,
        events: asyncio.Queue[Event | None],
        answer: AnswerFunction,
        save: Callable[[ResponseBuilder], Awaitable[None]],
    ) -> None:
        try:
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
        except Exception:
            log.exception("response %s failed", builder.id)
            builder.fail("server_error", "The image could not be generated.")
        finally:
            try:
                await self._record(self.store.remove_active, builder.id)
            finally:
                events.put_nowait(None)

    async def _record(self, write: Callable[[str], None], response_id: str) -> None:
        """Write to the store. If it fails, the response can be cancelled on this server only."""
        try:
            await asyncio.to_thread(write, response_id)
        except SQLAlchemyError as error:
            log.error("the store failed: %s", type(error).__name__)

    async def _poll_cancelled(self, response_id: str, task: asyncio.Future[None]) -> None:
        await asyncio.sleep(CANCEL_POLL_SECONDS)
        while not await self._is_cancelled(response_id):
            await asyncio.sleep(CANCEL_POLL_SECONDS)
        task.cancel()

    async def _is_cancelled(self, response_id: str) -> bool:
        try:
            return await asyncio.to_thread(self.store.is_cancelled, response_id)
        except SQLAlchemyError:
            return False
