"""Train, validation and test splits: a function of the images' names, not of their order."""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, Int8

from pinxit.data.images import NO_SPLIT, SPLITS

TEST_FRACTION = 0.10
VALIDATION_FRACTION = 0.05
MAX_DEVIATION = 0.25  # of the number of images of a split, relative to its fraction

TRAIN, VALIDATION, TEST = range(3)  # indices into SPLITS

_SYNONYMS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
    "t10k": "test",  # in the file names of MNIST
}


def parse_split(word: str) -> str | None:
    """Return the split that a word names (`val`, `valid` and `dev` are `validation`), or None."""
    return _SYNONYMS.get(word.lower())


def split_from_filename(file_name: str) -> str | None:
    """Return the split that a file name begins with, as in `train-00000-of-00002.parquet`."""
    return parse_split(re.split(r"[-_.\s]", file_name)[0])


def hash_fraction(name: str, salt: str = "split") -> float:
    """Hash a name to a number in [0, 1), uniformly distributed over names.

    The name is NFC-normalized. Another `salt` gives an independent number.
    """
    name = unicodedata.normalize("NFC", name)
    key = salt.encode()[:64]  # BLAKE2b's longest key
    digest = hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8, key=key)
    return int.from_bytes(digest.digest(), "big") / 2**64


def assign_splits(
    names: Sequence[str],
    source_splits: Sequence[str | None],
    units: Int[np.ndarray, " n"] | None = None,
) -> Int8[np.ndarray, " n"]:
    """Return the split of each image, int8 `[n]`: an index into `SPLITS`, or `NO_SPLIT`.

    Images of one unit, such as copies, are never in different splits; `units` numbers them, and
    for None each image is a unit. Test and validation images of the source stay there. Other
    images of a unit with a test image of the source have no split, and neither have training
    images of a unit with a validation image.

    All other units are divided by the hash of a name: 10 % of the images to test if the source has
    no test split, 5 % to validation if it has no validation split (of fewer than 600 images up to
    10 %), each at least one unit, if there is then one left to train on. The hashes below 0.1 are
    test and those up to 0.15 are validation, so adding images to a large source moves no other
    image. Only where the number of
    images would deviate by more than a quarter from its share, as it can in sources of some
    hundred images, is the limit of the hashes another one.
    """
    units = np.arange(len(names)) if units is None else np.unique(units, return_inverse=True)[1]
    given = np.array([SPLITS.index(split or "train") for split in source_splits], np.int8)
    highest = np.zeros(units.max(initial=-1) + 1, np.int8)
    np.maximum.at(highest, units, np.argsort(_PRECEDENCE)[given])
    split_of_unit = _PRECEDENCE[highest]
    is_free = split_of_unit == TRAIN
    drawn = [split for split in (TEST, VALIDATION) if SPLITS[split] not in source_splits]
    if drawn and np.count_nonzero(is_free) > len(drawn):
        pool = _Pool(names, units, np.flatnonzero(is_free))
        # the limits are fixed: with a test split, validation stays the same
        for number, split in enumerate(drawn):
            num_left = len(drawn) - number  # units for the splits that follow, and to train on
            start = 0.0 if split == TEST else TEST_FRACTION
            width = TEST_FRACTION if split == TEST else validation_fraction(pool.total)
            is_small = split == VALIDATION and width > VALIDATION_FRACTION
            least_share = 1.0 if is_small else 1 - MAX_DEVIATION
            split_of_unit[pool.draw(start, width, least_share, num_left)] = split
    splits = split_of_unit[units]
    return np.where(is_free[units] | (splits == given), splits, np.int8(NO_SPLIT))


# if a unit has images of several splits of the source, the last of these in this order wins
PRECEDENCE = ("train", "validation", "validation-held-out", "test", "test-held-out")
_PRECEDENCE = np.array([SPLITS.index(split) for split in PRECEDENCE], np.int8)


def validation_fraction(num_images: int) -> float:
    """Return the share of the validation split: 5 %, of fewer than 600 images up to 10 %.

    30 images at least choose the weights of a model, unless these are more than a tenth.
    """
    return min(2 * VALIDATION_FRACTION, max(VALIDATION_FRACTION, 30 / max(1, num_images)))


class _Pool:
    """The units that are divided by the hash of their first name in alphabetical order."""

    def __init__(self, names: Sequence[str], units: np.ndarray, free: np.ndarray) -> None:
        first_names: dict[int, str] = {}
        for unit, name in zip(units.tolist(), names, strict=True):
            first_names[unit] = min(name, first_names.get(unit, name))
        self.sizes = np.bincount(units)
        self.total = int(self.sizes[free].sum())
        self.hashes = {unit: hash_fraction(first_names[unit]) for unit in free.tolist()}
        self.order = sorted(self.hashes, key=lambda unit: (self.hashes[unit], first_names[unit]))

    def draw(self, start: float, width: float, least_share: float, num_left: int) -> list[int]:
        """Remove and return the units with hashes from `start` on, about `width` of the images.

        At least `least_share` of `width`, as far as units can be divided and `num_left` are left.
        """
        most = max(1, math.floor((1 + MAX_DEVIATION) * width * self.total))
        least = min(most, math.ceil(least_share * width * self.total))
        before = [unit for unit in self.order if self.hashes[unit] < start]
        drawn, count = [], 0
        for unit in (*self.order[len(before) :], *before):
            if count >= least and not 0 <= self.hashes[unit] - start < width:
                break
            if len(drawn) == len(self.order) - num_left:
                break
            if count + self.sizes[unit] <= most:
                drawn.append(unit)
                count += self.sizes[unit]
        # every unit is larger than the split should be
        drawn = drawn or [min(self.order, key=lambda unit: self.sizes[unit])]
        removed = set(drawn)
        self.order = [unit for unit in self.order if unit not in removed]
        return drawn
