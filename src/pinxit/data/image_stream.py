"""What `Images` know of a stream: images that are read from their shards while they are used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from jaxtyping import Int64

from pinxit.data.batch import Batch


class TrainingReader(Protocol):
    """Reads training images by their position in an endless order of all of them."""

    def read(self, positions: Int64[np.ndarray, " n"]) -> Batch:
        """Return the images at these positions, counted from the first epoch on."""
        ...

    def close(self) -> None:
        """Stop reading ahead."""
        ...


class ImageStream(Protocol):
    """Images in shards, of which no more than a window of shards is read at a time."""

    @property
    def num_shards(self) -> int: ...

    def versions(self) -> list[str]:
        """Return what changes with the content of each shard, the same for every copy of it."""
        ...

    def count(self, split: str) -> int:
        """Return the number of images of a split, or of `all`."""
        ...

    def open_training(self, seed: int) -> TrainingReader:
        """Return a reader of the training images in the order of a seed."""
        ...

    def batches(
        self, split: str, max_images: int, start: int = 0, stop: int | None = None
    ) -> Iterator[tuple[np.ndarray, Any]]:
        """Yield images of a split as `Images`, in the order of the shards, with their numbers.

        `start` and `stop` are the numbers of the first one and of the one after the last.
        """
        ...
