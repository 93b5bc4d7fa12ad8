"""scikit-learn's handwritten digits: 1,797 images of 8 x 8, part of its package."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np

from pinxit.data.records import Record, Source, SourceType


def open_digits(data: str, seed: int) -> Source | None:
    return Source(data, lambda: "digits 1", _list_records) if data == "digits" else None


def _list_records() -> Iterator[Record]:
    from sklearn.datasets import load_digits  # sklearn takes a second to import

    images, labels = load_digits(return_X_y=True)
    # ink is 0 to 16: the number of black pixels in a block of 4 x 4
    pixels = np.rint(np.asarray(images).reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    for i, (image, label) in enumerate(zip(pixels, np.asarray(labels), strict=True)):
        yield Record(f"digit-{i:04d}", functools.partial(np.copy, image), label_index=int(label))


SOURCE_TYPE = SourceType(
    pattern="digits",
    description="1,797 handwritten digits of 8 x 8, with labels, from scikit-learn. "
    "Needs no download.",
    examples=("digits",),
    open=open_digits,
    list_names=lambda: ("digits",),
    match_order=0,
)
