"""`StreamRows`: all images of a split of a stream, read a batch at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pinxit.data.image_rows import MAX_BATCH_IMAGES, ImageRows
from pinxit.data.image_stream import ImageStream
from pinxit.data.images import Images, evenly_spaced_indices
from pinxit.errors import UsageError


@dataclass(frozen=True)
class StreamRows:
    """The images of a split of a stream, or of `all`; or some of them.

    As `ImageRows` of images in memory, but in the order of the shards. Images that cannot be read
    are reported and left out.
    """

    images: Images  # the sample
    stream: ImageStream
    split: str
    numbers: np.ndarray | None = None  # of the selected images in the split; None: all

    def __len__(self) -> int:
        return self.stream.count(self.split) if self.numbers is None else len(self.numbers)

    def evenly_spaced(self, max_images: int | None) -> StreamRows:
        """Select at most `max_images` of all images, evenly spaced; None selects all."""
        if max_images is None or len(self) <= max_images:
            return self
        numbers = np.arange(len(self)) if self.numbers is None else self.numbers
        chosen = numbers[evenly_spaced_indices(len(numbers), max_images)]
        return dataclasses.replace(self, numbers=chosen)

    def batches(self, max_images: int = MAX_BATCH_IMAGES) -> Iterator[Images]:
        """Yield the images in order, at most `max_images` at a time."""
        for numbers, batch in self.stream.batches(self.split, max_images):
            if self.numbers is None:
                yield batch
            elif len(rows := np.flatnonzero(np.isin(numbers, self.numbers))):
                yield batch.take(rows)


def all_rows(rows: ImageRows, split: str) -> ImageRows | StreamRows:
    """Return the rows; if they are of a sample of a stream, all images of its split instead.

    Raises UsageError for a split that the stream has not.
    """
    stream = rows.images.stream
    if stream is None:
        return rows
    if not stream.count(split):
        raise UsageError(f"{rows.images.source} has no images of the split '{split}'.")
    return StreamRows(rows.images, stream, split)
