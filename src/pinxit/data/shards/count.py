"""Count the images of a shard by split, without knowing the other shards.

An image has the split that its source gives, or else the one that the hash of its name gives. So it
never changes its split, however many shards are added. Images of a group are counted by group: the
split of all of them is known when all shards are.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from pinxit.data.shards.shard_set import Located, ShardItem
from pinxit.data.shards.split_counts import GroupCount, ShardCount, SplitCounts
from pinxit.data.skipped import SkippedFile
from pinxit.data.splits import TEST_FRACTION, VALIDATION_FRACTION, hash_fraction


def free_split(name: str) -> str:
    """Return the split of an image whose source gives none: 10 % are test, 5 % validation.

    `name` is that of the image, or of the first one of its group.
    """
    fraction = hash_fraction(name)
    if fraction < TEST_FRACTION:
        return "test"
    return "validation" if fraction < TEST_FRACTION + VALIDATION_FRACTION else "train"


def folder_of(item: Located) -> str:
    """Return the folder of an image, "" for none."""
    return item.path.rpartition("/")[0]


def count_shard(items: Iterable[ShardItem]) -> ShardCount:
    """Count what a shard holds."""
    folders: dict[str, SplitCounts] = {}
    groups: dict[str, GroupCount] = {}
    has_pairs = False
    labels, captions, keywords, skipped = set(), set(), set(), []
    for item in items:
        if isinstance(item, SkippedFile):
            skipped.append(item)
        if not isinstance(item, Located):
            continue
        record, counts = item.record, folders.setdefault(folder_of(item), SplitCounts())
        has_pairs = has_pairs or PurePosixPath(record.name).stem == "before"
        if record.group is not None:
            _add_to_group(groups, item)
        elif record.split in (None, "train"):
            column = counts.free if record.split is None else counts.train
            _increment(column, free_split(record.name))
        else:
            _increment(counts.given, record.split)
        if record.label is not None or record.label_index is not None:
            labels.add((record.label_index, record.label))
        captions |= record.captions.keys()
        keywords |= record.keywords.keys()
    sets = (frozenset(labels), frozenset(captions), frozenset(keywords))
    return ShardCount(folders, *sets, tuple(skipped), groups, has_pairs)


def _add_to_group(groups: dict[str, GroupCount], item: Located) -> None:
    name, group = item.record.name, item.record.group or ""
    known = groups.get(group)
    if known is None or name < known.first:
        groups[group] = GroupCount(name, known.numbers if known else {})
    _increment(groups[group].numbers.setdefault(folder_of(item), {}), item.record.split or "")


def _increment(numbers: dict[str, int], key: str) -> None:
    numbers[key] = numbers.get(key, 0) + 1
