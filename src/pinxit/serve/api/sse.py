"""Server-sent events, and work that ends with its client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

from fastapi import Request
from fastapi.responses import StreamingResponse

T = TypeVar("T")

QUIET = 15.0  # seconds after which a line that says nothing keeps the connection open


def sse(event: dict[str, Any]) -> bytes:
    """One event: its name, its data on one line, an empty line."""
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


def streamed(events: AsyncIterator[dict[str, Any]], last: bytes = b"") -> StreamingResponse:
    """An event stream; silence is broken by comments."""
    told = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return StreamingResponse(_lines(events, last), media_type="text/event-stream", headers=told)


async def _lines(events: AsyncIterator[dict[str, Any]], last: bytes) -> AsyncIterator[bytes]:
    iterator = aiter(events)
    coming: asyncio.Future[dict[str, Any]] | None = None
    try:
        while True:
            coming = coming or asyncio.ensure_future(anext(iterator))
            done, _ = await asyncio.wait({coming}, timeout=QUIET)
            if not done:
                yield b": still at work\n\n"
                continue
            try:
                event = coming.result()
            except StopAsyncIteration:
                break
            coming = None
            yield sse(event)
        if last:
            yield last
    finally:
        if coming is not None:
            coming.cancel()
        await iterator.aclose()  # type: ignore[attr-defined]


class Left(Exception):
    """The client has gone: nobody reads the answer."""


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """What `work` gives; it is cancelled when the client goes away. The body has been read."""
    task = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({task, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Left
        return task.result()
    finally:
        leaving.cancel()
        task.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
