"""An image of a stream that is not decoded yet, and what reads and decodes such images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pinxit.data.decoding.opening import UnreadableImage
from pinxit.data.images import Images
from pinxit.data.record import Record


@dataclass(frozen=True, slots=True)
class StreamRow:
    """An image of a stream that is not decoded yet."""

    record: Record
    split: str
    label: int  # -1 for none


class RowReader(Protocol):
    """Reads images of shards."""

    def load_shard(self, i: int, split: str) -> list[StreamRow]: ...

    def decode_row(self, row: StreamRow) -> np.ndarray | UnreadableImage: ...

    def to_images(self, rows: Sequence[StreamRow], pixels: np.ndarray) -> Images: ...

    def report(self, name: str, text: str) -> None: ...

    def reserve(self, shards: int) -> None: ...
