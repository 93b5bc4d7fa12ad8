"""`StreamRows`: all images of a split of a stream, read a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pinxit.data.image_rows import MAX_BATCH_IMAGES, ImageRows
from pinxit.data.image_stream import ImageStream
from pinxit.data.images import Images
from pinxit.errors import UsageError


@dataclass(frozen=True)
class StreamRows:
    """The images of a split of a stream, or of `all`.

    As `ImageRows` of images in memory, but in the order of the shards. Images that cannot be read
    are reported and left out.
    """

    images: Images  # the sample
    stream: ImageStream
    split: str

    def __len__(self) -> int:
        return self.stream.count(self.split)

    def batches(self, max_images: int = MAX_BATCH_IMAGES) -> Iterator[Images]:
        """Yield the images in order, at most `max_images` at a time."""
        for _, batch in self.number_batches(slice(0, len(self)), max_images):
            yield batch

    def number_batches(
        self, selected: slice, max_images: int
    ) -> Iterator[tuple[np.ndarray, Images]]:
        """Yield batches of a range of the images, with the number that each has in the split."""
        yield from self.stream.batches(self.split, max_images, selected.start, selected.stop)


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
