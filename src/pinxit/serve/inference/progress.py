"""Partial images, passed from a worker's thread to the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    pass


class Growth:
    """Images as they grow, from a worker's thread to the event loop: so many of its stages."""

    def __init__(self, stages: int, wanted: int) -> None:
        self.loop = asyncio.get_running_loop()
        self.queue: asyncio.Queue[list[np.ndarray] | None] = asyncio.Queue()
        self._due = {max(1, round(k * stages / (wanted + 1))) for k in range(1, wanted + 1)}
        self._stage = 0

    def __call__(self, images: Sequence[np.ndarray]) -> None:
        self._stage += 1
        if self._stage in self._due:
            self._put([image.copy() for image in images])

    def end(self, *_: Any) -> None:
        self._put(None)

    def _put(self, what: list[np.ndarray] | None) -> None:
        self.loop.call_soon_threadsafe(self.queue.put_nowait, what)


async def watching(
    growth: Growth, painting: Any, shown: Callable[[int, list[np.ndarray]], Any]
) -> Any:
    """What `painting` gives; meanwhile each stage is handed to `shown` with its number."""
    task = asyncio.ensure_future(painting)
    task.add_done_callback(growth.end)
    number = 0
    try:
        while (images := await growth.queue.get()) is not None:
            await shown(number, images)
            number += 1
        return await task
    finally:
        task.cancel()
