"""Recognize the names of splits in names of folders: `train`, `test_set`, `val2017`, `trainA`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pinxit.data.split_names import SPLITS
from pinxit.data.splits import parse_split

_WORDS = {
    "trn": "train",
    "trainval": "train",
    "minival": "validation",
    "development": "validation",
    "tst": "test",
    "eval": "test",
    "evaluation": "test",
    "holdout": "test",
    "heldout": "test",
}
# words that may stand beside the name of a split; other words make it another name
_NEUTRAL_WORDS = (
    "set sets data dataset datasets image images img imgs picture pictures pic pics photo photos "
    "sample samples file files frame frames split splits part parts fold out crop crops cropped "
    "resized original full final new clean raw rgb gray grey jpg jpeg png seg cls px my the "
    "only sub subset mini small large std"
)
_NEUTRAL = frozenset(_NEUTRAL_WORDS.split())
_TOKEN = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_]+")
_GLUED = re.compile(
    r"(train|training|test|testing|val|valid|validation|dev|eval)(?:sets?|data|images?|imgs?|pics)"
)
_MEDICAL = {"imagestr": "train", "imagests": "test"}  # nnU-Net


@dataclass(frozen=True)
class SplitName:
    """What the name of a folder says about splits."""

    split: str | None = None
    is_plain: bool = False  # only words such as `set` or `images` and numbers stand beside it


def read_split_name(name: str) -> SplitName:
    """Return the split that a folder's name contains, and whether the name says nothing else.

    >>> read_split_name("test_images").is_plain, read_split_name("test_tubes").is_plain
    (True, False)
    """
    whole = _split_of_word(name) or _MEDICAL.get(name.lower())
    if name in SPLITS:
        whole = name
    if whole:
        return SplitName(whole, is_plain=True)
    tokens = [token.lower() for token in _TOKEN.findall(name)]
    splits = [split for token in tokens if (split := _split_of_word(token))]
    if "held" in tokens and "out" in tokens:
        splits.append("test")
        tokens.remove("held")
    if not splits or len(set(splits)) > 1:
        # `train_val` is trained on; `train_test` says nothing
        is_trainval = set(splits) == {"train", "validation"}
        return SplitName("train", is_plain=True) if is_trainval else SplitName()
    others = (token for token in tokens if not _split_of_word(token))
    is_plain = all(t in _NEUTRAL or t.isdecimal() or len(t) == 1 for t in others)
    return SplitName(splits[0], is_plain)


def _split_of_word(word: str) -> str | None:
    word = word.lower()
    if match := _GLUED.fullmatch(word):
        word = match[1]
    return parse_split(word) or _WORDS.get(word)
