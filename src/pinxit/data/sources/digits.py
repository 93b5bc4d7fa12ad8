"""scikit-learn's handwritten digits: 1,797 images of 8 x 8, embedded, no network."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np

from pinxit.data.records import Kind, Record, Source


def find(text: str, seed: int) -> Source | None:
    return Source(text, lambda: "digits 1", _records) if text == "digits" else None


def _records() -> Iterator[Record]:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    # ink runs from 0 to 16, since each pixel counts the black ones in a block of 4 x 4
    pixels = np.rint(np.asarray(images).reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    for i, (image, label) in enumerate(zip(pixels, np.asarray(labels), strict=True)):
        yield Record(f"digit-{i:04d}", functools.partial(np.copy, image), rank=int(label))


KIND = Kind(
    data="digits",
    says="Handwritten digits, 1,797 of 8 x 8 with labels. Needs nothing.",
    examples=("digits",),
    find=find,
    names=lambda: ("digits",),
    rank=0,
)
