"""Read training images of a stream at any position of their order, a window of shards ahead.

In the place of an image that cannot be read comes the next one of its window that can, so that all
batches are whole, and the same however they are divided over processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from pinxit.data.batch import Batch
from pinxit.data.decoding.opening import UnreadableImage, ignore_pillow_warnings
from pinxit.data.streams.order import StreamOrder, Window
from pinxit.data.streams.stream_row import RowReader, StreamRow
from pinxit.data.streams.threads import num_threads
from pinxit.errors import PinxitError

ROWS_PER_TASK = 16  # that a thread decodes
FETCH_THREADS = 4  # that fetch shards at a time


@dataclass(frozen=True)
class LoadedWindow:
    """A window with the training images of its shards, not decoded."""

    window: Window
    rows: dict[int, list[StreamRow]]  # by shard

    def row(self, place: int) -> StreamRow | None:
        """Return the image at a place; None if its shard lacks it."""
        shard, number = self.window.locate(place)
        rows = self.rows[shard]
        return rows[number] if number < len(rows) else None


class ShuffledReader:
    """Reads the training images of a stream in the order of a seed."""

    def __init__(self, stream: RowReader, counts: np.ndarray, window: int, seed: int) -> None:
        self.stream, self.order = stream, StreamOrder(counts, window, seed)
        stream.reserve(window)
        self._loaded: dict[tuple[int, int], Future[LoadedWindow]] = {}
        self._decoders = ThreadPoolExecutor(num_threads(), thread_name_prefix="pinxit-decode")
        self._loaders = ThreadPoolExecutor(1, thread_name_prefix="pinxit-window")
        self._fetchers = ThreadPoolExecutor(FETCH_THREADS, thread_name_prefix="pinxit-shard")

    def read(self, positions: Int64[np.ndarray, " n"]) -> Batch:
        """Return the images at these positions. Raises PinxitError if a shard cannot be read."""
        found = [self.order.find(position) for position in positions.tolist()]
        loaded = self._load({(w.epoch, w.number): w for w, _ in found})
        places = [(loaded[w.epoch, w.number], place) for w, place in found]
        parts = [places[i : i + ROWS_PER_TASK] for i in range(0, len(places), ROWS_PER_TASK)]
        decoded = [pair for part in self._decoders.map(self._decode, parts) for pair in part]
        pixels = np.stack([image for _, image in decoded])
        images = self.stream.to_images([row for row, _ in decoded], pixels)
        return images.batch(np.arange(len(images)))

    def close(self) -> None:
        for pool in (self._loaders, self._fetchers, self._decoders):
            pool.shutdown(wait=False, cancel_futures=True)

    def _load(self, windows: dict[tuple[int, int], Window]) -> dict[tuple[int, int], LoadedWindow]:
        """Return the windows, and begin to load the one that follows; forget all others."""
        last = self.order.following(windows[max(windows)])
        needed = {**windows, (last.epoch, last.number): last}
        for key in self._loaded.keys() - needed.keys():
            del self._loaded[key]
        for key in sorted(needed.keys() - self._loaded.keys()):
            self._loaded[key] = self._loaders.submit(self._load_window, needed[key])
        return {key: self._loaded[key].result() for key in windows}

    def _load_window(self, window: Window) -> LoadedWindow:
        shards = window.shards.tolist()
        rows = self._fetchers.map(lambda i: self.stream.load_shard(i, "train"), shards)
        return LoadedWindow(window, dict(zip(shards, rows, strict=True)))

    def _decode(
        self, places: Sequence[tuple[LoadedWindow, int]]
    ) -> list[tuple[StreamRow, np.ndarray]]:
        with ignore_pillow_warnings():
            return [self._decode_first(loaded, place) for loaded, place in places]

    def _decode_first(self, loaded: LoadedWindow, place: int) -> tuple[StreamRow, np.ndarray]:
        """Return the first image from a place on that can be read."""
        size = len(loaded.window)
        for step in range(size):
            row = loaded.row((place + step) % size)
            if row is None:
                continue
            image = self.stream.decode_row(row)
            if not isinstance(image, UnreadableImage):
                return row, image
            name = row.record.name
            self.stream.report(
                name, f"{name} cannot be read ({image}): another one takes its place"
            )
        raise PinxitError(
            f"no training image of {len(loaded.rows):,} shards can be read.\n"
            "Check the shards: pinxit look DATA --stream on"
        )
