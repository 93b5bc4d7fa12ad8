"""Server-sent events, and work that stops when its client disconnects."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

from fastapi import Request
from fastapi.responses import StreamingResponse

Item = TypeVar("Item")
T = TypeVar("T")

KEEPALIVE_SECONDS = 15.0  # silence after which a comment keeps the connection open


def encode_event(event: dict[str, Any]) -> bytes:
    """Encode an event: its name, its data on one line, an empty line."""
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


def event_stream(events: AsyncIterator[dict[str, Any]]) -> StreamingResponse:
    """Return an HTTP response that streams events, and comments to keep an idle connection open."""
    return byte_stream(events, encode_event)


def byte_stream(
    items: AsyncIterator[Item], encode: Callable[[Item], bytes] = bytes
) -> StreamingResponse:
    """Return an HTTP response that streams items, each encoded, and comments between them."""
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    content = _encode(items, encode)
    return StreamingResponse(content, media_type="text/event-stream", headers=headers)


async def _encode(
    items: AsyncIterator[Item], encode: Callable[[Item], bytes]
) -> AsyncIterator[bytes]:
    iterator = aiter(items)
    next_item: asyncio.Future[Item] | None = None
    try:
        while True:
            next_item = next_item or asyncio.ensure_future(anext(iterator))
            done, _ = await asyncio.wait({next_item}, timeout=KEEPALIVE_SECONDS)
            if not done:
                yield b": keep-alive\n\n"
                continue
            try:
                item = next_item.result()
            except StopAsyncIteration:
                break
            next_item = None
            yield encode(item)
    finally:
        if next_item is not None:
            next_item.cancel()
            await asyncio.wait({next_item})  # a running generator cannot be closed
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
