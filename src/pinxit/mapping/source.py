"""The images that are mapped: listed and decoded a batch at a time, or loaded before.

They are listed where nothing needs all pixels at once. The default splits and pairs of images do:
copies are never in different splits, and the two images of a pair are joined.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock
from jaxtyping import Int

from pinxit.data.cache import cache_dir
from pinxit.data.image_rows import ImageRows
from pinxit.data.image_stream import ImageStream
from pinxit.data.images import SPLITS, Images
from pinxit.data.load import compute_fingerprint, load_stream
from pinxit.data.load_options import LoadOptions
from pinxit.data.record_rows import RecordRows, list_rows
from pinxit.data.skipped import SkippedFile
from pinxit.errors import UsageError
from pinxit.runs import Run
from pinxit.sampling.inputs import (
    load_for_run,
    load_run_data,
    load_with_fallbacks,
    options_for_data,
    own_data,
    select_rows,
)

LOAD_LOCK = ".map.lock"  # in the cache of decoded images
# the source's own images of these splits stay in them, whatever their pixels
FIXED_SPLITS = ("test", "validation")

Batches = Iterator[tuple[Int[np.ndarray, " k"], Images]]


@dataclass(frozen=True)
class StreamNumbers:
    """The numbers of a split's images in a stream: each is its own."""

    stream: ImageStream
    split: str

    def __len__(self) -> int:
        return self.stream.count(self.split)

    def __getitem__(self, places: np.ndarray) -> np.ndarray:
        return places

    def read(self, selected: slice, max_images: int, unreadable: list[SkippedFile]) -> Batches:
        """Yield images with their numbers; those that are left out are appended to `unreadable`."""
        expected = selected.start
        batches = self.stream.batches(self.split, max_images, selected.start, selected.stop)
        for numbers, images in batches:
            unreadable += _list_missing(expected, numbers)
            expected = int(numbers[-1]) + 1
            yield numbers, images
        unreadable += _list_missing(expected, np.array([selected.stop]))


def _list_missing(start: int, numbers: np.ndarray) -> list[SkippedFile]:
    """Return the images with numbers from `start` on that are missing, up to the last number."""
    missing = sorted({*range(start, int(numbers[-1]))} - {*numbers.tolist()})
    reason = "cannot be read, or its shard is cut off: see the warnings"
    return [SkippedFile(f"image {number}", reason, "record") for number in missing]


@dataclass(frozen=True)
class MappedImages:
    """A selection of images, in this order."""

    images: RecordRows | Images
    rows: Int[np.ndarray, " n"] | StreamNumbers
    fingerprint: str  # of all images of the source
    source: str  # as the user typed it
    skipped: tuple[SkippedFile, ...]  # files that are no images

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, selected: slice, max_images: int, unreadable: list[SkippedFile]) -> Batches:
        """Yield the numbers of some images in the selection, and the images, in order.

        At most `max_images` at a time, fewer of large ones. Images that cannot be decoded are left
        out, and appended to `unreadable`.
        """
        if isinstance(self.rows, StreamNumbers):
            yield from self.rows.read(selected, max_images, unreadable)
            return
        if isinstance(self.images, Images):
            yield from _read_loaded(self.images, self.rows[selected], selected.start, max_images)
            return
        blank = Images(np.empty((0, *self.images.shape.dims), np.uint8))
        size = ImageRows.of(blank).batch_size(max_images)
        for places, images in self.images.read(self.rows[selected], size, unreadable):
            yield selected.start + places, images


def _read_loaded(images: Images, rows: np.ndarray, first: int, max_images: int) -> Batches:
    for batch in ImageRows(images, rows).batches(max_images):
        yield np.arange(first, first + len(batch)), batch
        first += len(batch)


def of_images(images: Images, split: str) -> MappedImages:
    """Return a split of images that are in memory, or of all."""
    if images.stream is not None:
        numbers = StreamNumbers(images.stream, split)
        if not len(numbers):
            raise UsageError(f"{images.source} has no images of the split '{split}'.")
        # images that cannot be read are found when their block is: also those of the sample
        return MappedImages(images, numbers, _identify_stream(images), images.source, ())
    rows, _ = select_rows(images, split)
    fingerprint = images.fingerprint or compute_fingerprint(images)
    return MappedImages(images, rows.rows, fingerprint, images.source, images.skipped)


def _identify_stream(images: Images) -> str:
    """Return a hash of a stream with the checksum or the time of each of its shards."""
    assert images.stream is not None
    digest = hashlib.blake2b(images.fingerprint.encode(), digest_size=16)
    for version in images.stream.versions():
        digest.update(f"{version} ".encode())
    return digest.hexdigest()


def open_images(run: Run, data: Sequence[str], split: str, *, progress: bool) -> MappedImages:
    """Return a split of DATA, or of the run's own data, in the form that the run's model takes.

    Raises UsageError for unknown DATA and for a split without images, PinxitError if there is no
    image.
    """
    streamed = _find_stream(run, data, progress)
    if streamed is not None:
        return of_images(streamed, split)
    listed = _list(run, data, progress)
    if listed.has_pairs or not _has_final_split(listed, split):
        with _one_at_a_time():
            images = (
                load_for_run(run, data, progress=progress)
                if data
                else load_run_data(run, progress=progress)
            )
        return of_images(images, split)
    known = listed.known
    rows = np.arange(len(listed)) if split == "all" else known.split_indices(split)
    return MappedImages(listed, rows, known.fingerprint, listed.source, listed.skipped)


def _find_stream(run: Run, data: Sequence[str], progress: bool) -> Images | None:
    """Return the sample of a source that is streamed, with its stream; None if it is not."""
    source, options = _source_and_options(run, data)
    with _one_at_a_time():
        load = functools.partial(load_stream, source, progress=progress)
        return load_with_fallbacks(run, source, options, load, progress=progress)


def _list(run: Run, data: Sequence[str], progress: bool) -> RecordRows:
    source, options = _source_and_options(run, data)
    load = functools.partial(list_rows, source)
    return load_with_fallbacks(run, source, options, load, progress=progress)


def _source_and_options(
    run: Run, data: Sequence[str]
) -> tuple[str | Path | Sequence[str | Path], LoadOptions]:
    if not data:
        return own_data(run), run.load_options
    return options_for_data(run, data)


def _has_final_split(listed: RecordRows, split: str) -> bool:
    """Return whether the images of a split are known before their pixels are."""
    if split == "all":
        return True
    return split in FIXED_SPLITS and split in SPLITS and split in listed.source_splits


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Let one process of a machine decode the images: the others find them in the cache."""
    try:
        cache_dir().mkdir(parents=True, exist_ok=True)
        lock = FileLock(Path(cache_dir()) / LOAD_LOCK)
        lock.acquire()
    except (OSError, NotImplementedError):  # without a cache or locks: each for itself
        yield
        return
    try:
        yield
    finally:
        lock.release()
