"""The shape that a set is decoded to: size and channels, from options or from a sample."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from pinxit.data.decode import UnreadableImage, decode, is_grey, read_size
from pinxit.data.decoding.conversion import Conversion
from pinxit.data.images import evenly_spaced_indices
from pinxit.data.load_options import LoadOptions
from pinxit.data.parallel_decode import ImageShape
from pinxit.data.records import Record, Source
from pinxit.data.sizes import choose_size, format_size
from pinxit.data.skipped import SkippedFile
from pinxit.errors import PinxitError

MAX_BYTES = 16 << 30  # of decoded pixels in one array; of more, shards are streamed
MAX_SAMPLE = 1_024  # images that are inspected to choose the size and the channels
SAMPLE_RUNS = 16  # runs of adjacent images that make up the sample
MAX_COLOR_SAMPLE = 256  # images of the sample that are decoded to find colors,
COLOR_SAMPLE_SIDE = 32  # at most at this size in pixels


class TooManyPixels(PinxitError):
    """The decoded images would take more than the bound, by this ratio."""

    def __init__(self, text: str, ratio: float) -> None:
        super().__init__(text)
        self.ratio = ratio


def describe_unreadable(source: Source, skipped: Sequence[SkippedFile]) -> str:
    """Return an error for a source without a readable image, with the first reasons."""
    if not skipped:
        return f"there is no image in {source.name}."
    rest = f" and {len(skipped) - 1:,} more" if len(skipped) > 1 else ""
    return f"no image of {source.name} can be read: {skipped[0].name} ({skipped[0].reason}){rest}."


def choose_shape(
    source: Source,
    records: Sequence[Record],
    options: LoadOptions,
    skipped: list[SkippedFile],
    conversion: Conversion,
) -> tuple[ImageShape, list[str]]:
    """Return the shape to decode the records to, and notes on what was chosen.

    Raises PinxitError if no record can be read, TooManyPixels if all take more than
    the source's bound, or `MAX_BYTES`.
    """
    sample = [records[i] for i in _sample_rows(len(records))]
    size, notes = options.height_width, []
    if size is None:
        sizes = list(_readable_sizes(sample)) or list(itertools.islice(_readable_sizes(records), 1))
        if not sizes:
            raise PinxitError(describe_unreadable(source, [*skipped, *_read_reason(records[0])]))
        size, note = choose_size(sizes)
        notes = [note] if note else []
    channels = {"grey": 1, "rgb": 3}.get(options.color)
    channels = channels or (1 if _all_grey(sample, size, conversion) else 3)
    shape = ImageShape(*size, channels, options.fit, conversion)
    total_bytes = len(records) * int(np.prod(shape.dims))
    max_bytes = source.max_bytes or MAX_BYTES
    if total_bytes > max_bytes:
        raise TooManyPixels(
            f"{source.name} has {len(records):,} images; at {format_size(size)} they take "
            f"{total_bytes / 2**30:.1f} GiB, more than the limit of {max_bytes >> 30}. "
            "Use a smaller --size or a --limit, or shards, which are streamed (pinxit shard).",
            total_bytes / max_bytes,
        )
    return shape, notes


def _sample_rows(count: int) -> list[int]:
    """Return the rows of the images to inspect: all, or evenly spaced contiguous runs."""
    if count <= MAX_SAMPLE:
        return list(range(count))
    run_length = MAX_SAMPLE // SAMPLE_RUNS
    starts = evenly_spaced_indices(count - run_length + 1, SAMPLE_RUNS)
    return sorted({int(start) + i for start in starts for i in range(run_length)})


def _readable_sizes(records: Sequence[Record]) -> Iterator[tuple[int, int]]:
    for record in records:
        try:
            size = read_size(record.read)
        except UnreadableImage:
            continue
        yield size


def _read_reason(record: Record) -> list[SkippedFile]:
    """Return the record with the reason why it cannot be read, as a list of one; [] if it can."""
    try:
        read_size(record.read)
    except UnreadableImage as error:
        return [SkippedFile(record.name, str(error))]
    return []


def _all_grey(sample: Sequence[Record], size: tuple[int, int], conversion: Conversion) -> bool:
    height, width = (min(side, COLOR_SAMPLE_SIDE) for side in size)

    def is_grey_or_unreadable(record: Record) -> bool:
        try:
            return is_grey(decode(record.read, height, width, 3, "crop", conversion))
        except UnreadableImage:
            return True

    step = max(1, len(sample) // MAX_COLOR_SAMPLE)
    return all(is_grey_or_unreadable(record) for record in sample[::step])
