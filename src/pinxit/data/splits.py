"""Train, validation and test: settled by an image's name, never by its place in the source."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence

import numpy as np

from pinxit.data.images import SPLITS

TEST_SHARE = 0.10
VALIDATION_SHARE = 0.05

_WORDS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
    "t10k": "test",  # as the MNIST family calls it
}


def parse_split(word: str) -> str | None:
    """The split that a word names: `val`, `valid` and `dev` are the validation split."""
    return _WORDS.get(word.lower())


def split_from_filename(file_name: str) -> str | None:
    """The split that a file's name begins with, as in `train-00000-of-00002.parquet`."""
    return parse_split(re.split(r"[-_.\s]", file_name)[0])


def hash_fraction(name: str, salt: str = "split") -> float:
    """A number in [0, 1) that a name always has. Names are compared in Unicode's form C."""
    name = unicodedata.normalize("NFC", name)
    digest = hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8, key=_key(salt))
    return int.from_bytes(digest.digest(), "big") / 2**64


def _key(salt: str) -> bytes:
    return salt.encode()[:64]


def assign_splits(names: Sequence[str], given: Sequence[str | None]) -> np.ndarray:
    """The split of each image, int8 `[n]`, index into `SPLITS`.

    Where the source says it, that holds. Else the name's hash does: 10 % test, 5 % validation. A
    source that has no test (or no validation) split gives that share of its training images.
    Adding an image moves no other.
    """
    has_test = "test" in given
    has_validation = "validation" in given
    splits = np.array([SPLITS.index(split or "train") for split in given], np.int8)
    for i, (name, split) in enumerate(zip(names, given, strict=True)):
        if split in (None, "train"):
            splits[i] = _by_chance(hash_fraction(name), has_test, has_validation)
    return splits


def ensure_training_split(splits: np.ndarray, given: Sequence[str | None]) -> np.ndarray:
    """The splits, or all `train` where the source gives none and chance left nothing to train on,
    as it may in a source of one or two images."""
    train = SPLITS.index("train")
    if any(given) or (splits == train).any():
        return splits
    return np.full_like(splits, train)


def _by_chance(share: float, has_test: bool, has_validation: bool) -> int:
    # the two shares lie side by side, so that which splits exist moves as few images as it can
    if not has_test and share < TEST_SHARE:
        return SPLITS.index("test")
    if not has_validation and TEST_SHARE <= share < TEST_SHARE + VALIDATION_SHARE:
        return SPLITS.index("validation")
    return SPLITS.index("train")
