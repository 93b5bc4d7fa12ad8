"""Partial images of a stream, passed from a worker's thread to the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")


class PreviewStream:
    """A `PreviewCallback` that queues `num_previews` of the steps, evenly spaced."""

    def __init__(self, num_steps: int, num_previews: int) -> None:
        self.loop = asyncio.get_running_loop()
        self.queue: asyncio.Queue[list[np.ndarray] | None] = asyncio.Queue()
        self._steps = {
            max(1, round(k * num_steps / (num_previews + 1))) for k in range(1, num_previews + 1)
        }
        self._step = 0

    def __call__(self, images: Sequence[np.ndarray]) -> None:
        self._step += 1
        if self._step in self._steps:
            self._put([image.copy() for image in images])

    def close(self) -> None:
        self._put(None)

    def _put(self, images: list[np.ndarray] | None) -> None:
        self.loop.call_soon_threadsafe(self.queue.put_nowait, images)


async def stream_previews(
    previews: PreviewStream,
    generation: Coroutine[Any, Any, T],
    show: Callable[[int, list[np.ndarray]], Awaitable[None]],
) -> T:
    """Return the result of `generation`; meanwhile await `show(index, images)` per preview."""
    task = asyncio.ensure_future(generation)
    task.add_done_callback(lambda _: previews.close())
    index = 0
    try:
        while (images := await previews.queue.get()) is not None:
            await show(index, images)
            index += 1
        return await task
    finally:
        task.cancel()
