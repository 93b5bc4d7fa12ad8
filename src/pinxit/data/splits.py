"""Train, validation and test splits: a function of an image's name, not of its position."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence

import numpy as np

from pinxit.data.images import SPLITS

TEST_FRACTION = 0.10
VALIDATION_FRACTION = 0.05

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


def assign_splits(names: Sequence[str], source_splits: Sequence[str | None]) -> np.ndarray:
    """Return the split of each image, int8 `[n]`, an index into `SPLITS`.

    Test and validation images of the source stay there. Train and unassigned images are divided
    by the hash of their name: 10 % to test if the source has no test split, 5 % to validation if
    it has no validation split. An image's split depends only on its name, its split in the source
    and on which splits the source has, so adding images of these splits moves no other image.
    """
    has_test = "test" in source_splits
    has_validation = "validation" in source_splits
    splits = np.array([SPLITS.index(split or "train") for split in source_splits], np.int8)
    for i, (name, split) in enumerate(zip(names, source_splits, strict=True)):
        if split in (None, "train"):
            splits[i] = _split_of_fraction(hash_fraction(name), has_test, has_validation)
    return splits


def ensure_training_split(splits: np.ndarray, source_splits: Sequence[str | None]) -> np.ndarray:
    """Return the splits, or all `train` if the hashes left no training image.

    That happens to sources of one or two images. Splits that the source defines are kept.
    """
    train = SPLITS.index("train")
    if any(source_splits) or (splits == train).any():
        return splits
    return np.full_like(splits, train)


def _split_of_fraction(fraction: float, has_test: bool, has_validation: bool) -> int:
    # both intervals are fixed: a source that gains a test split keeps its validation images
    if not has_test and fraction < TEST_FRACTION:
        return SPLITS.index("test")
    if not has_validation and TEST_FRACTION <= fraction < TEST_FRACTION + VALIDATION_FRACTION:
        return SPLITS.index("validation")
    return SPLITS.index("train")
