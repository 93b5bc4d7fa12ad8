"""Which split and which label each image of a stream has, from the counts of all shards."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from pinxit.data.imagefolder.levels import Levels, find_levels
from pinxit.data.labels import index_labels
from pinxit.data.record import Record
from pinxit.data.shards.count import folder_of, free_split
from pinxit.data.shards.shard_set import Located
from pinxit.data.shards.split_counts import Label, SetCounts, SplitCounts
from pinxit.data.split_names import SPLITS

HELD_OUT = ("test", "validation")  # splits that a hash draws, where the source has none


@dataclass(frozen=True)
class Division:
    """The splits and labels of a set of shards."""

    folder_splits: dict[str, str]  # of folders in the shards that are splits
    folder_labels: dict[str, str]  # of folders in the shards that are labels
    drawn: frozenset[str]  # splits that the hash of a name gives
    counts: dict[str, Int64[np.ndarray, " shards"]]  # images of each shard by split
    label_index: dict[Label, int]
    label_names: tuple[str, ...]

    def split_of(self, item: Located) -> str:
        """Return the split of an image; it depends on the image and on the set of splits only."""
        given = item.record.split or self.folder_splits.get(folder_of(item))
        if given is not None:
            return given
        split = free_split(item.record)
        return split if split in self.drawn else "train"

    def label_of(self, item: Located) -> int:
        """Return the number of an image's label, -1 for none."""
        if self.folder_labels:
            return self.label_index.get((None, self.folder_labels.get(folder_of(item))), -1)
        return self.label_index.get((item.record.label_index, item.record.label), -1)

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
    columns = {name: np.zeros(len(counts.shards), np.int64) for name in SPLITS}
    for i, folders in enumerate(counts.shards):
        for folder, numbers in folders.items():
            for name, number in _resolve(numbers, splits.get(folder), drawn):
                columns[name][i] += number
    index, names = _number_labels(counts.labels or [(None, name) for name in labels.values()])
    columns = {name: column for name, column in columns.items() if column.any()}
    return Division(splits, labels, drawn, columns, index, names)


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
    return given | {by_folder[folder] for folder in free if folder in by_folder}


def _resolve(
    numbers: SplitCounts, folder_split: str | None, drawn: frozenset[str]
) -> list[tuple[str, int]]:
    """Return (split, number of images) of a folder."""
    free = [
        (folder_split or (name if name in drawn else "train"), number)
        for name, number in numbers.free.items()
    ]
    return [*numbers.given.items(), *free]


def _number_labels(labels: list[Label] | tuple[Label, ...]) -> tuple[dict[Label, int], tuple]:
    found = list(dict.fromkeys((number, name) for number, name in labels))
    records = [Record("", bytes, label=name, label_index=number) for number, name in found]
    numbers, names = index_labels(records)
    if numbers is None:
        return {}, ()
    return dict(zip(found, numbers.tolist(), strict=True)), names
