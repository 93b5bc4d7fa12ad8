"""`ShardStream`: images that are decoded from their shards while they are used."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypedDict, TypeVar

import numpy as np

from pinxit.console import echo
from pinxit.data.decode import UnreadableImage, decode_with_facts
from pinxit.data.decoding.opening import ignore_pillow_warnings
from pinxit.data.image_rows import size_of_batch
from pinxit.data.images import NO_SPLIT, SPLITS, Images
from pinxit.data.keywords import keywords_by_language
from pinxit.data.parallel_decode import ImageShape
from pinxit.data.record import Note, Record
from pinxit.data.record_columns import captions_by_language, more_captions_by_language
from pinxit.data.shards.shard_set import Located, ShardSet
from pinxit.data.shards.split_counts import SetCounts
from pinxit.data.skipped import SkippedFile
from pinxit.data.streams.division import LEFT_OUT, Division
from pinxit.data.streams.lazy_records import read_again
from pinxit.data.streams.stream_row import StreamRow
from pinxit.data.streams.threads import num_threads
from pinxit.data.streams.training_reader import ROWS_PER_TASK, ShuffledReader
from pinxit.errors import PinxitError

WINDOWS_ON_DISK = 3  # of downloaded shards: the last, the present and the next one

T = TypeVar("T")


@dataclass(frozen=True)
class ShardStream:
    """The images of shards, with the shape that they are decoded to."""

    shards: ShardSet
    set_counts: SetCounts
    division: Division
    shape: ImageShape
    # selects languages and makes captions from labels, as the options of loading say
    finish: Callable[[Images], Images]
    group_by: str
    window: int  # shards whose images are shuffled together
    strict: bool
    _reported: set[str] = field(default_factory=set)  # shards of which a warning was printed

    @property
    def num_shards(self) -> int:
        return len(self.shards.shards)

    def versions(self) -> list[str]:
        # of a file on this machine the modification time, without the inode, which copies lack
        return [shard.version.partition(" ")[0] for shard in self.shards.shards]

    def count(self, split: str) -> int:
        return self.division.total(split)

    def counts(self, split: str) -> np.ndarray:
        """Return the number of images of a split in each shard."""
        return self.division.counts.get(split, np.zeros(self.num_shards, np.int64))

    def open_training(self, seed: int) -> ShuffledReader:
        return ShuffledReader(self, self.counts("train"), self.window, seed)

    def batches(
        self, split: str, max_images: int, start: int = 0, stop: int | None = None
    ) -> Iterator[tuple[np.ndarray, Images]]:
        size = size_of_batch(int(np.prod(self.shape.dims)), max_images)
        waiting: list[tuple[int, StreamRow]] = []
        stop = self.count(split) if stop is None else stop
        with ThreadPoolExecutor(num_threads(), thread_name_prefix="pinxit-decode") as pool:
            for numbered in self._list_rows(split, start, stop):
                waiting += numbered
                while len(waiting) >= size:
                    yield from self._decode(waiting[:size], pool)
                    waiting = waiting[size:]
            yield from self._decode(waiting, pool)

    def _list_rows(
        self, split: str, start: int, stop: int
    ) -> Iterator[list[tuple[int, StreamRow]]]:
        """Yield the images with numbers from `start` to below `stop`, a shard at a time."""
        names = list(self.division.counts) if split == "all" else [split]
        ends = np.cumsum(sum((self.counts(name) for name in names), np.zeros(1, np.int64)))
        for i in range(int(np.searchsorted(ends, start, side="right")), self.num_shards):
            count = self._count_in(i, split)
            first = int(ends[i]) - count
            if first >= stop:
                break
            if count:
                rows = enumerate(self.load_shard(i, split), first)
                yield [(number, row) for number, row in rows if start <= number < stop]

    def _decode(
        self, rows: Sequence[tuple[int, StreamRow]], pool: ThreadPoolExecutor
    ) -> Iterator[tuple[np.ndarray, Images]]:
        """Yield the images that can be read, if any, with their numbers."""
        numbers, kept, pixels = [], [], []
        decoded = self.decode([row for _, row in rows], pool)
        for (number, row), image in zip(rows, decoded, strict=True):
            if isinstance(image, UnreadableImage):
                self.report(row.record.name, f"{row.record.name} cannot be read: {image}")
            else:
                numbers.append(number)
                kept.append(row)
                pixels.append(image)
        if kept:
            yield np.array(numbers), self.to_images(kept, np.stack(pixels))

    def load_shard(self, i: int, split: str) -> list[StreamRow]:
        """Return the images of a split in a shard, not decoded.

        A shard with fewer than were counted is reported. Raises PinxitError if it cannot be read at
        all, or if the stream is strict.
        """
        shard, rows, skipped = self.shards.shards[i], [], []
        for item in self.shards.items(i, self.group_by):
            if isinstance(item, Located) and split in ("all", self.division.split_of(item)):
                record = read_again(item.record, self.shards, shard)
                rows.append(
                    StreamRow(record, self.division.split_of(item), self.division.label_of(item))
                )
            elif isinstance(item, SkippedFile):
                skipped.append(item)
            elif self.strict and isinstance(item, Note) and item.is_loss:
                self.report(shard.name, f"{shard.name}: {item.text}")
        expected = self._count_in(i, split)
        if len(rows) < expected:
            reason = f" ({skipped[-1].reason})" if skipped else ""
            self.report(
                shard.name,
                f"{shard.name} has {len(rows):,} of its {expected:,} images{reason}: it was "
                "damaged, cut off or replaced",
            )
        return rows[:expected]

    def _count_in(self, i: int, split: str) -> int:
        names = self.division.counts if split == "all" else [split]
        return int(sum(self.counts(name)[i] for name in names))

    def reserve(self, shards: int) -> None:
        """Make room on the disk for windows of so many shards, if they are fetched."""
        sizes = sorted((shard.size or 0 for shard in self.shards.shards), reverse=True)
        self.shards.reserve(sum(sizes[: WINDOWS_ON_DISK * shards]))

    def report(self, name: str, text: str) -> None:
        """Print what cannot be read, once; raise it if the stream is strict."""
        if self.strict:
            raise PinxitError(f"{self.shards.name}: {text}.")
        if name not in self._reported:
            self._reported.add(name)
            echo(f"warning: {self.shards.name}: {text}")

    def decode(
        self, rows: Sequence[StreamRow], pool: ThreadPoolExecutor
    ) -> Iterator[np.ndarray | UnreadableImage]:
        """Yield the pixels of each image, or why there are none."""
        parts = [rows[i : i + ROWS_PER_TASK] for i in range(0, len(rows), ROWS_PER_TASK)]
        for images in pool.map(self._decode_part, parts):
            yield from images

    def _decode_part(self, rows: Sequence[StreamRow]) -> list[np.ndarray | UnreadableImage]:
        with ignore_pillow_warnings():
            return [self.decode_row(row) for row in rows]

    def decode_row(self, row: StreamRow) -> np.ndarray | UnreadableImage:
        """Return the pixels `[height, width, channel]` of an image, or why there are none."""
        try:
            content = row.record.read()
        except OSError as error:
            return UnreadableImage(error.strerror or str(error))
        except UnreadableImage as error:
            return error
        try:
            shape = self.shape
            return decode_with_facts(lambda: content, *shape.dims, shape.fit, shape.conversion)[0]
        except UnreadableImage as error:
            return error

    def to_images(self, rows: Sequence[StreamRow], pixels: np.ndarray) -> Images:
        """Return decoded images with all that is known about them, as the sample has it."""
        records = [row.record for row in rows]
        names = self.division.label_names
        images = Images(
            pixels,
            names=[record.name for record in records],
            labels=np.array([row.label for row in rows], np.int64) if names else None,
            label_names=names,
            **text_columns(records, self.set_counts),
            splits=np.array([_split_index(row.split) for row in rows], np.int8),
            source=self.shards.name,
        )
        return self.finish(images)


def _split_index(split: str) -> int:
    return NO_SPLIT if split == LEFT_OUT else SPLITS.index(split)


class TextColumns(TypedDict):
    """Texts of images by language, as `Images` hold them."""

    captions: dict[str, Sequence[str]]
    more_captions: dict[str, Sequence[tuple[str, ...]]]
    keywords: dict[str, Sequence[tuple[str, ...]]]


def text_columns(records: Sequence[Record], counts: SetCounts) -> TextColumns:
    """Return captions and keywords by language, for all languages of the set.

    A record with a text in every language is added and its texts are dropped, so that the columns
    do not depend on which images are read together.
    """
    complete = Record(
        "",
        bytes,
        captions=dict.fromkeys(counts.captions, "caption"),
        more_captions=dict.fromkeys(counts.captions, ("another caption",)),
        keywords=dict.fromkeys(counts.keywords, ("keyword",)),
    )
    together = [*records, complete]
    return TextColumns(
        captions=_drop_last(captions_by_language(together)),
        more_captions=_drop_last(more_captions_by_language(together)),
        keywords=_drop_last(keywords_by_language(together)),
    )


def _drop_last(columns: Mapping[str, Sequence[T]]) -> dict[str, Sequence[T]]:
    return {language: column[:-1] for language, column in columns.items()}
