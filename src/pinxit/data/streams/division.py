"""Which split and which label each image of a stream has, from the counts of all shards."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from pinxit.data.imagefolder.levels import Levels, find_levels
from pinxit.data.labels import number_labels
from pinxit.data.record import Note
from pinxit.data.shards.count import folder_of, free_split
from pinxit.data.shards.shard_set import Located
from pinxit.data.shards.split_counts import Label, SetCounts, SplitCounts
from pinxit.data.split_names import SPLITS
from pinxit.data.splits import PRECEDENCE

# of images that are in no split: their group has images that the source holds out
LEFT_OUT = "left-out"
HELD_OUT = ("test", "validation")  # splits that a hash draws, where the source has none


@dataclass(frozen=True)
class Division:
    """The splits and labels of a set of shards."""

    folder_splits: dict[str, str]  # of folders in the shards that are splits
    folder_labels: dict[str, str]  # of folders in the shards that are labels
    drawn: frozenset[str]  # splits that the hash of a name gives
    group_splits: dict[str, str]
    counts: dict[str, Int64[np.ndarray, " shards"]]  # images of each shard by split
    label_index: dict[Label, int]
    label_names: tuple[str, ...]
    label_notes: tuple[Note, ...] = ()

    def split_of(self, item: Located) -> str:
        """Return the split of an image, or `LEFT_OUT`.

        It depends on the image, its group and the set of splits only.
        """
        given = item.record.split or self.folder_splits.get(folder_of(item)) or "train"
        if item.record.group is not None:
            return self.split_in_group(item.record.group, given)
        return _draw(item.record.name, self.drawn) if given == "train" else given

    def split_in_group(self, group: str, given: str) -> str:
        """Return the split of an image of a group, or `LEFT_OUT`, by the one that it is given."""
        split = self.group_splits.get(group, "train")
        is_free = split == "train" or split in self.drawn
        return split if is_free or split == given else LEFT_OUT

    def label_of(self, item: Located) -> int:
        """Return the number of an image's label, -1 for none."""
        if self.folder_labels:
            return self.label_index.get((None, self.folder_labels.get(folder_of(item))), -1)
        return self.label_index.get((item.record.label_index, item.record.label), -1)

    def label_name_of(self, item: Located) -> str | None:
        """Return the name of an image's class, None for none."""
        label = self.label_of(item)
        return self.label_names[label] if label >= 0 else None

    def total(self, split: str) -> int:
        """Return the number of images of a split, or of `all`."""
        columns = self.counts.values() if split == "all" else [self.counts.get(split, np.zeros(0))]
        return int(sum(column.sum() for column in columns))


def divide_set(counts: SetCounts) -> Division:
    """Divide the images of all shards into splits, and number their labels."""
    levels = _folder_levels(counts)
    splits = {folder: levels.splits[_example(folder)] for folder in _folders(counts)
              if _example(folder) in levels.splits}  # fmt: skip
    labels = {folder: levels.labels[_example(folder)] for folder in _folders(counts)
              if _example(folder) in levels.labels and not counts.labels}  # fmt: skip
    drawn = frozenset(HELD_OUT) - set(_splits_of_source(counts, splits))
    numbering = number_labels(counts.labels or [(None, name) for name in labels.values()])
    groups = _divide_groups(counts, splits, drawn)
    division = Division(splits, labels, drawn, groups, {}, *numbering)
    return dataclasses.replace(division, counts=_count_by_split(counts, division))


def _count_by_split(
    counts: SetCounts, division: Division
) -> dict[str, Int64[np.ndarray, " shards"]]:
    columns = {name: np.zeros(len(counts.shards), np.int64) for name in (*SPLITS, LEFT_OUT)}
    splits = division.folder_splits
    for i, folders in enumerate(counts.shards):
        for folder, numbers in folders.items():
            for name, number in _resolve(numbers, splits.get(folder), division.drawn):
                columns[name][i] += number
    for i, group, folder, given, number in _list_grouped(counts):
        split = division.split_in_group(group, given or splits.get(folder) or "train")
        columns[split][i] += number
    return {name: column for name, column in columns.items() if column.any()}


def _list_grouped(counts: SetCounts) -> Iterator[tuple[int, str, str, str, int]]:
    """Yield (shard, group, folder, split that the source gives, number of images)."""
    for i, groups in enumerate(counts.groups):
        for group, count in groups.items():
            for folder, numbers in count.numbers.items():
                for given, number in numbers.items():
                    yield i, group, folder, given, number


def count_groups(counts: SetCounts) -> int:
    """Return the number of groups of more than one image."""
    sizes: Counter[str] = Counter()
    for _, group, _, _, number in _list_grouped(counts):
        sizes[group] += number
    return sum(size > 1 for size in sizes.values())


def _divide_groups(
    counts: SetCounts, by_folder: dict[str, str], drawn: frozenset[str]
) -> dict[str, str]:
    """Return the split of each group, as loading all images divides them.

    It is the highest one of the source, else that of the hash of its first name.
    """
    first: dict[str, str] = {}
    for groups in counts.groups:
        for group, count in groups.items():
            first[group] = min(first.get(group, count.first), count.first)
    highest = dict.fromkeys(first, 0)
    for _, group, folder, given, _ in _list_grouped(counts):
        rank = PRECEDENCE.index(given or by_folder.get(folder) or "train")
        highest[group] = max(highest[group], rank)
    return {
        group: PRECEDENCE[rank] if rank else _draw(first[group], drawn)
        for group, rank in highest.items()
    }


def _draw(name: str, drawn: frozenset[str]) -> str:
    split = free_split(name)
    return split if split in drawn else "train"


def _folders(counts: SetCounts) -> set[str]:
    return {folder for folders in counts.shards for folder in folders}


def _example(folder: str) -> str:
    """Return the path of an image in a folder, of which levels are found."""
    return f"{folder}/x" if folder else "x"


def _folder_levels(counts: SetCounts) -> Levels:
    return find_levels(sorted(map(_example, _folders(counts))))


def _splits_of_source(counts: SetCounts, by_folder: dict[str, str]) -> set[str]:
    given = {name for folders in counts.shards for n in folders.values() for name in n.given}
    free = {folder for folders in counts.shards for folder, n in folders.items() if n.free}
    for _, _, folder, split, _ in _list_grouped(counts):
        given |= {split} - {""}
        free |= set() if split else {folder}
    return given | {by_folder[folder] for folder in free if folder in by_folder}


def _resolve(
    numbers: SplitCounts, folder_split: str | None, drawn: frozenset[str]
) -> list[tuple[str, int]]:
    """Return (split, number of images) of a folder."""
    held_out = folder_split if folder_split != "train" else None
    free = [
        (held_out or (name if name in drawn else "train"), number)
        for name, number in numbers.free.items()
    ]
    train = [(name if name in drawn else "train", number) for name, number in numbers.train.items()]
    return [*numbers.given.items(), *free, *train]
