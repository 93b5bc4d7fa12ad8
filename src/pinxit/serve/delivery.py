"""Images as an answer holds them: at the size, format and ground that was asked for."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pinxit.serve.fields import Options
from pinxit.serve.images import Sent, cut_out, encoded, image_of, kept_outside, resampled, size_of
from pinxit.serve.painters import Ask

if TYPE_CHECKING:
    pass

INLINE = 256 * 256  # pixels above which an image is encoded beside the event loop

HOW = ("guidance", "temperature", "top_k", "top_p", "tries")


def how_of(options: Options) -> tuple[tuple[str, Any], ...]:
    """What of the options a model is told, if anything."""
    found = ((name, getattr(options, name)) for name in HOW)
    return tuple((name, value) for name, value in found if value is not None)


@dataclass(frozen=True)
class Wanted:
    """What a request asks of its images' files."""

    size: tuple[int, int] | None
    kind: str = "png"
    compression: int | None = None
    transparent: bool = False

    @classmethod
    def of(cls, options: Options, size: tuple[int, int] | None = None) -> Wanted:
        """`size` is that of an answer whose size is left open. Raises Refusal for a bad one."""
        return cls(
            size_of(options.size) or size,
            options.output_format or "png",
            options.output_compression,
            options.background == "transparent",
        )

    async def file(self, pixels: np.ndarray, ask: Ask) -> File:
        """One image as a file."""
        large = self.size is not None and self.size[0] * self.size[1] > INLINE
        large = large or ask.mask is not None
        return (
            await asyncio.to_thread(self._file, pixels, ask) if large else self._file(pixels, ask)
        )

    def _file(self, pixels: np.ndarray, ask: Ask) -> File:
        image = image_of(pixels)
        made = image.size
        if ask.mask is not None and ask.source is not None:
            image = kept_outside(image, ask.source, ask.mask)
        elif self.transparent:
            image = cut_out(image)
        image = resampled(image, self.size)
        content = encoded(image, self.kind, self.compression)
        return File(content, image.size, made, self.kind, image.mode == "RGBA")


@dataclass(frozen=True)
class File:
    """An image's file and what it is."""

    content: bytes
    size: tuple[int, int]
    made: tuple[int, int]  # as the model painted it
    kind: str
    transparent: bool

    @property
    def base64(self) -> str:
        return base64.b64encode(self.content).decode()

    @property
    def facts(self) -> dict[str, Any]:
        """The fields that every answer has of an image."""
        return {
            "size": f"{self.size[0]}x{self.size[1]}",
            "background": "transparent" if self.transparent else "opaque",
            "output_format": self.kind,
        }

    @property
    def resampled_from(self) -> str | None:
        """The model's own size, where the answer is of another."""
        return None if self.size == self.made else f"{self.made[0]}x{self.made[1]}"


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


def size_left_open(source: Sent | None, mask: bytes | None) -> tuple[int, int] | None:
    """Of an edit under a mask the image's own size, else the model's."""
    return (source.width, source.height) if source is not None and mask is not None else None
