"""Build responses whose clients do not wait for the end: streamed, or in the background.

The application owns one `ActiveResponses`, which also records each stored response in the store
while it is built, with a sign of life every `POLL_SECONDS`. To cancel a response of another server,
a server marks it there; the server that builds it polls the store and stops. A response without a
sign of life for `MAX_SILENT_SECONDS` is that of a server that has ended.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

from sqlalchemy.exc import SQLAlchemyError

from pinxit.serve.dialogue.event_log import Event, EventLog
from pinxit.serve.dialogue.response import AnswerFunction, ResponseBuilder
from pinxit.serve.errors import ApiError
from pinxit.serve.logs import log_fault
from pinxit.serve.store import MAX_SILENT_SECONDS, Store

POLL_SECONDS = 1.0
MAX_CANCEL_SECONDS = 10.0  # until another server has stopped
MAX_FINISHED_LOGS = 8  # of background responses that have ended, for readers that come back
FINISHED_SECONDS = 300.0

SaveFunction = Callable[[ResponseBuilder], Awaitable[None]]

log = logging.getLogger("pinxit.serve")


class ActiveResponse(NamedTuple):
    """A response that is being built, its events so far, and the tasks for it."""

    builder: ResponseBuilder
    events: EventLog
    task: asyncio.Future[None]
    poll: asyncio.Future[None]


class ActiveResponses:
    """The responses that this application builds while, or although, no client waits."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.active: dict[str, ActiveResponse] = {}
        self.finished: OrderedDict[str, EventLog] = OrderedDict()

    def start(
        self,
        builder: ResponseBuilder,
        events: EventLog,
        answer: AnswerFunction,
        save: SaveFunction,
    ) -> ActiveResponse:
        """Start to build a response; `events` receives its events."""
        task = asyncio.ensure_future(self._build(builder, events, answer, save))
        poll = asyncio.ensure_future(self._poll(builder, task))
        active = ActiveResponse(builder, events, task, poll)
        self.active[builder.id] = active
        return active

    async def stream(self, active: ActiveResponse) -> AsyncIterator[Event]:
        """Yield the events of a response that was started.

        Closing the iterator stops the work, but not that of a background response.
        """
        try:
            async for event in active.events.read():
                yield event
        finally:
            if not active.builder.body["background"]:
                active.task.cancel()

    def read(self, response_id: str, after: int) -> AsyncIterator[Event] | None:
        """Return the events of a response, active or just ended; None for any other."""
        active = self.active.get(response_id)
        events = self.finished.get(response_id) if active is None else active.events
        return None if events is None else events.read(after)

    async def cancel(self, response_id: str) -> dict[str, Any] | None:
        """Cancel a response, here or on another server, and return it; None if it is not active."""
        active = self.active.get(response_id)
        if active is not None:
            _cancel(active.builder, active.task)
            await asyncio.wait({active.task})
            return active.builder.body
        if not await asyncio.to_thread(self.store.is_active, response_id, MAX_SILENT_SECONDS):
            return None
        if not await asyncio.to_thread(self.store.cancel_active, response_id):
            return None
        for _ in range(round(MAX_CANCEL_SECONDS / POLL_SECONDS)):
            await asyncio.sleep(POLL_SECONDS)
            stored = await asyncio.to_thread(self.store.load_response, response_id)
            if stored is not None and stored.body["status"] != "in_progress":
                return stored.body
        raise ApiError("The server that builds this response does not answer.", status=503)

    async def load_body(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return the body as it is now, of one that was stored while its response is built."""
        if body["status"] != "in_progress":
            return body
        if body["id"] in self.active:
            return self.active[body["id"]].builder.body
        if await asyncio.to_thread(self.store.is_active, body["id"], MAX_SILENT_SECONDS):
            return body
        stored = await asyncio.to_thread(self.store.load_response, body["id"])  # it may have ended
        if stored is not None and stored.body["status"] != "in_progress":
            return stored.body
        error = {"code": "server_error", "message": "The server that built it has ended."}
        return {**body, "status": "failed", "error": error}

    def forget(self, response_id: str) -> None:
        """Stop the work for a response that is being deleted, and drop its events."""
        self.finished.pop(response_id, None)
        active = self.active.get(response_id)
        if active is not None and active.builder.body["background"]:
            active.builder.is_deleted = True
            active.task.cancel()

    async def stop(self) -> None:
        """Stop all work: the application ends. Background responses are stored as failed."""
        tasks = [active.task for active in self.active.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=MAX_CANCEL_SECONDS)

    async def _build(
        self,
        builder: ResponseBuilder,
        events: EventLog,
        answer: AnswerFunction,
        save: SaveFunction,
    ) -> None:
        is_stored = builder.parsed.request.store is not False  # else no other server knows it
        try:
            if is_stored and not builder.body["background"]:  # of which it was recorded before
                await self._record(self.store.add_active, builder.id)
            builder.start()
            await answer(builder)
            builder.finish()
            await save(builder)
            builder.emit_completed()
        except ApiError as error:
            await self._fail(builder, error.code or "server_error", str(error), save)
        except asyncio.CancelledError:
            if builder.is_cancelled_by_client or not builder.body["background"]:
                builder.cancel()
            else:
                builder.fail("server_error", "The server has ended.")
            if builder.is_cancelled_by_client or builder.body["background"]:
                await self._save_quietly(builder, save)
        except Exception as error:
            log_fault(f"response {builder.id}", error)
            message = "The image could not be generated."
            await self._fail(builder, "server_error", message, save)
        finally:
            try:
                if is_stored:
                    await self._record(self.store.remove_active, builder.id)
            finally:
                self._end(builder, events)

    def _end(self, builder: ResponseBuilder, events: EventLog) -> None:
        events.end()
        active = self.active.pop(builder.id, None)
        if active is not None:
            active.poll.cancel()
        if builder.body["background"] and not builder.is_deleted:
            self.finished[builder.id] = events
            while len(self.finished) > MAX_FINISHED_LOGS:
                self.finished.popitem(last=False)
            loop = asyncio.get_running_loop()
            loop.call_later(FINISHED_SECONDS, self.finished.pop, builder.id, None)

    async def _fail(
        self, builder: ResponseBuilder, code: str, message: str, save: SaveFunction
    ) -> None:
        builder.fail(code, message)
        if builder.body["background"]:
            await self._save_quietly(builder, save)

    async def _save_quietly(self, builder: ResponseBuilder, save: SaveFunction) -> None:
        try:
            await save(builder)
        except SQLAlchemyError as error:
            log.error("the store failed: %s", type(error).__name__)

    async def _record(self, write: Callable[[str], None], response_id: str) -> None:
        """Write to the store. If it fails, the response can be cancelled on this server only."""
        try:
            await asyncio.to_thread(write, response_id)
        except SQLAlchemyError as error:
            log.error("the store failed: %s", type(error).__name__)

    async def _poll(self, builder: ResponseBuilder, task: asyncio.Future[None]) -> None:
        """Give signs of life, and cancel the task where another server asks for it."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            try:
                if await asyncio.to_thread(self.store.poll_active, builder.id):
                    break
            except SQLAlchemyError:
                continue
        _cancel(builder, task)


def _cancel(builder: ResponseBuilder, task: asyncio.Future[None]) -> None:
    builder.is_cancelled_by_client = True
    task.cancel()
