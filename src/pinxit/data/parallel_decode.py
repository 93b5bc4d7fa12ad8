"""Decode many images in threads, in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from pinxit.console import track
from pinxit.data.decode import UnreadableImage, decode_with_facts, examine
from pinxit.data.decoding.conversion import Conversion
from pinxit.data.decoding.pixels import ImageFacts
from pinxit.data.decoding.set_facts import SetFacts
from pinxit.data.images import SkippedFile, evenly_spaced_indices
from pinxit.data.load_options import Fit
from pinxit.data.records import Record

BLOCK_BYTES = 4 << 20  # of pixels that a thread decodes at a time
MAX_BLOCK_IMAGES = 64
MAX_THREADS = 16
NUM_EXAMINED = 16  # images from which the conversion is guessed before all are decoded

DecodedBlock = list[tuple[np.ndarray, ImageFacts] | SkippedFile]


@dataclass(frozen=True)
class ImageShape:
    """The shape that every image is decoded to, and how its proportions and values are changed."""

    height: int
    width: int
    channels: int  # 1 grey, 3 RGB
    fit: Fit
    conversion: Conversion

    @property
    def dims(self) -> tuple[int, int, int]:
        return self.height, self.width, self.channels


def guess_conversion(records: Sequence[Record], given: Conversion) -> Conversion:
    """Return the conversion of a set as a sample of its images suggests it."""
    facts = SetFacts(given)
    for i in evenly_spaced_indices(len(records), NUM_EXAMINED) if records else ():
        try:
            facts.add(examine(records[i].read, facts.conversion()))
        except UnreadableImage:
            continue
    return facts.conversion()


def decode_all(
    source: str,
    records: Sequence[Record],
    rows: Sequence[int],
    shape: ImageShape,
    decoded_rows: list[int],
    skipped: list[SkippedFile],
    facts: SetFacts,
    progress: bool,
) -> Iterator[np.ndarray]:
    """Yield blocks of pixels `[k, height, width, channel]`, in the order of `rows`.

    Appends the rows that could be decoded to `decoded_rows`, and the others to `skipped`; adds to
    `facts` what each image says about the conversion of the set.
    """
    step = int(np.clip(BLOCK_BYTES // np.prod(shape.dims), 1, MAX_BLOCK_IMAGES))
    chunks = [rows[i : i + step] for i in range(0, len(rows), step)]
    results = _decode_in_threads(records, chunks, shape)
    for chunk, images in track(results, len(rows), f"decoding {source}", progress):
        block, names = [], []
        for row, image in zip(chunk, images, strict=True):
            if isinstance(image, SkippedFile):
                skipped.append(image)
            else:
                decoded_rows.append(row)
                block.append(image[0])
                names.append(records[row].name)
                facts.add(image[1])
        if block:
            pixels = np.stack(block)
            facts.add_pixels(pixels, names)
            yield pixels


def _decode_in_threads(
    records: Sequence[Record], chunks: list[Sequence[int]], shape: ImageShape
) -> Iterator[tuple[int, tuple[Sequence[int], DecodedBlock]]]:
    """Yield (number of rows, (rows, images)) for each chunk, in order.

    Pillow releases the interpreter's lock while it decodes. At most two chunks per thread are
    pending, which bounds the memory.
    """
    num_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 4
    num_threads = min(MAX_THREADS, num_cores)
    pending: deque[tuple[Sequence[int], Future[DecodedBlock]]] = deque()
    pool = ThreadPoolExecutor(num_threads, thread_name_prefix="pinxit-decode")
    try:
        for chunk in chunks:
            pending.append((chunk, pool.submit(_decode_block, [records[i] for i in chunk], shape)))
            if len(pending) > 2 * num_threads:
                rows, future = pending.popleft()
                yield len(rows), (rows, future.result())
        while pending:
            rows, future = pending.popleft()
            yield len(rows), (rows, future.result())
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _decode_block(records: Sequence[Record], shape: ImageShape) -> DecodedBlock:
    return [_decode_record(record, shape) for record in records]


def _decode_record(
    record: Record, shape: ImageShape
) -> tuple[np.ndarray, ImageFacts] | SkippedFile:
    try:
        return decode_with_facts(record.read, *shape.dims, shape.fit, shape.conversion)
    except UnreadableImage as error:
        return SkippedFile(record.name, str(error))
