"""Count the images of a shard by split, without knowing the other shards.

An image has the split that its source gives, or else the one that a hash gives: of its group, if it
has one, or of its name. So an image never changes its split, however many shards are added.
"""

from __future__ import annotations

from collections.abc import Iterable

from pinxit.data.record import Record
from pinxit.data.shards.shard_set import Located, ShardItem
from pinxit.data.shards.split_counts import ShardCount, SplitCounts
from pinxit.data.skipped import SkippedFile
from pinxit.data.splits import TEST_FRACTION, VALIDATION_FRACTION, hash_fraction


def free_split(record: Record) -> str:
    """Return the split of an image whose source gives none: 10 % are test, 5 % validation."""
    fraction = hash_fraction(record.group or record.name)
    if fraction < TEST_FRACTION:
        return "test"
    return "validation" if fraction < TEST_FRACTION + VALIDATION_FRACTION else "train"


def folder_of(item: Located) -> str:
    """Return the folder of an image, "" for none."""
    return item.path.rpartition("/")[0]


def count_shard(items: Iterable[ShardItem]) -> ShardCount:
    """Count what a shard holds."""
    folders: dict[str, SplitCounts] = {}
    labels, captions, keywords, skipped = set(), set(), set(), []
    for item in items:
        if isinstance(item, SkippedFile):
            skipped.append(item)
        if not isinstance(item, Located):
            continue
        record, counts = item.record, folders.setdefault(folder_of(item), SplitCounts())
        column, split = counts.free, free_split(record)
        if record.split is not None:
            column, split = counts.given, record.split
        column[split] = column.get(split, 0) + 1
        if record.label is not None or record.label_index is not None:
            labels.add((record.label_index, record.label))
        captions |= record.captions.keys()
        keywords |= record.keywords.keys()
    sets = (frozenset(labels), frozenset(captions), frozenset(keywords))
    return ShardCount(folders, *sets, tuple(skipped))
