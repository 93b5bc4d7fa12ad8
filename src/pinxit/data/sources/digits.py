"""Handwritten digits: 1,797 images of 8 x 8, which are part of this package.

The test set of "Optical Recognition of Handwritten Digits" (Alpaydin & Kaynak 1998, UCI Machine
Learning Repository, CC BY 4.0), as scikit-learn has it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pinxit.data.records import Record, Source, SourceType

FILE = Path(__file__).parent / "digits.npz"


def open_digits(data: str, seed: int) -> Source | None:
    return Source(data, lambda: "digits 1", _list_records) if data == "digits" else None


def _list_records() -> Iterator[Record]:
    with np.load(FILE) as arrays:
        images, labels = arrays["images"], arrays["labels"]
    # ink is 0 to 16: the number of black pixels in a block of 4 x 4
    pixels = np.rint(images * (255 / 16)).astype(np.uint8)
    for i, (image, label) in enumerate(zip(pixels, labels, strict=True)):
        yield Record(f"digit-{i:04d}", functools.partial(np.copy, image), label_index=int(label))


SOURCE_TYPE = SourceType(
    pattern="digits",
    description="1,797 handwritten digits of 8 x 8, with labels. Needs no download.",
    examples=("digits",),
    open=open_digits,
    list_names=lambda: ("digits",),
    match_order=0,
)
