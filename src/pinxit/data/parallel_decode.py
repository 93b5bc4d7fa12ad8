"""Many images decoded at once, by threads, in their order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from pinxit.console import track
from pinxit.data.decode import UnreadableImage, decode
from pinxit.data.images import SkippedFile
from pinxit.data.load_options import Fit
from pinxit.data.records import Record

BLOCK_BYTES = 4 << 20  # of pixels, that a thread decodes before it hands them over


Decoded = tuple[Sequence[int], list[np.ndarray | SkippedFile]]


@dataclass(frozen=True)
class ImageShape:
    """What every image becomes."""

    height: int
    width: int
    channels: int  # 1 grey, 3 colour
    fit: Fit

    @property
    def dims(self) -> tuple[int, int, int]:
        return self.height, self.width, self.channels


def decode_all(
    what: str,
    records: Sequence[Record],
    rows: Sequence[int],
    shape: ImageShape,
    good: list[int],
    skipped: list[SkippedFile],
    progress: bool,
) -> Iterator[np.ndarray]:
    """Blocks of pixels in the order of `rows`; `good` gets the rows that could be decoded."""
    step = int(np.clip(BLOCK_BYTES // np.prod(shape.dims), 1, 64))
    chunks = [rows[i : i + step] for i in range(0, len(rows), step)]
    results = _in_order(records, chunks, shape)
    for chunk, pixels in track(results, len(rows), f"decoding {what}", progress):
        block = []
        for row, result in zip(chunk, pixels, strict=True):
            if isinstance(result, SkippedFile):
                skipped.append(result)
            else:
                good.append(row)
                block.append(result)
        if block:
            yield np.stack(block)


def _in_order(
    records: Sequence[Record], chunks: list[Sequence[int]], shape: ImageShape
) -> Iterator[tuple[int, Decoded]]:
    """Chunks decoded by threads (Pillow frees the interpreter's lock), a few in flight at once."""
    workers = min(16, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 4)
    flying: deque[tuple[Sequence[int], Future[list[np.ndarray | SkippedFile]]]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="pinxit-decode")
    try:
        for chunk in chunks:
            flying.append((chunk, pool.submit(_decode_all, [records[i] for i in chunk], shape)))
            if len(flying) > 2 * workers:
                done, future = flying.popleft()
                yield len(done), (done, future.result())
        while flying:
            done, future = flying.popleft()
            yield len(done), (done, future.result())
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _decode_all(records: Sequence[Record], shape: ImageShape) -> list[np.ndarray | SkippedFile]:
    return [_decode_one(record, shape) for record in records]


def _decode_one(record: Record, shape: ImageShape) -> np.ndarray | SkippedFile:
    try:
        return decode(record.read, *shape.dims, shape.fit)
    except UnreadableImage as error:
        return SkippedFile(record.name, str(error))
