"""Server-sent events, and work that stops when its client disconnects."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

from fastapi import Request
from fastapi.responses import StreamingResponse

T = TypeVar("T")

KEEPALIVE_SECONDS = 15.0  # silence after which a comment keeps the connection open


def encode_event(event: dict[str, Any]) -> bytes:
    """Encode an event: its name, its data on one line, an empty line."""
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


def event_stream(events: AsyncIterator[dict[str, Any]]) -> StreamingResponse:
    """Return an HTTP response that streams events, and comments to keep an idle connection open."""
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return StreamingResponse(_encode(events), media_type="text/event-stream", headers=headers)


async def _encode(events: AsyncIterator[dict[str, Any]]) -> AsyncIterator[bytes]:
    iterator = aiter(events)
    next_event: asyncio.Future[dict[str, Any]] | None = None
    try:
        while True:
            next_event = next_event or asyncio.ensure_future(anext(iterator))
            done, _ = await asyncio.wait({next_event}, timeout=KEEPALIVE_SECONDS)
            if not done:
                yield b": keep-alive\n\n"
                continue
            try:
                event = next_event.result()
            except StopAsyncIteration:
                break
            next_event = None
            yield encode_event(event)
    finally:
        if next_event is not None:
            next_event.cancel()
            await asyncio.wait({next_event})  # a running generator cannot be closed
        await iterator.aclose()  # type: ignore[attr-defined]


class ClientDisconnected(Exception):
    """The client has closed the connection."""


async def run_while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Return the result of `work`, or cancel it when the client disconnects.

    The request's body must have been read. What threads have begun ends by itself. Raises
    ClientDisconnected.
    """
    task = asyncio.ensure_future(work)
    disconnect = asyncio.ensure_future(_wait_for_disconnect(request))
    try:
        await asyncio.wait({task, disconnect}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnected
        return task.result()
    finally:
        for future in (disconnect, task):
            future.cancel()
        await asyncio.wait({disconnect, task})


async def _wait_for_disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
