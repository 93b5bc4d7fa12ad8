"""How many images of shards are in each split, and what their labels and languages are."""

from __future__ import annotations

from dataclasses import dataclass, field

from pinxit.data.skipped import SkippedFile

Label = tuple[int | None, str | None]  # number and name, as the source gives them


@dataclass(frozen=True)
class SplitCounts:
    """Numbers of images of a shard, or of a folder in it."""

    # by the split that the source gives, `train` only in lists that earlier versions wrote
    given: dict[str, int] = field(default_factory=dict)
    free: dict[str, int] = field(default_factory=dict)  # without one, by the split of their hash
    train: dict[str, int] = field(default_factory=dict)  # of the source's `train`, likewise

    @property
    def total(self) -> int:
        return sum(sum(numbers.values()) for numbers in (self.given, self.free, self.train))


@dataclass(frozen=True)
class GroupCount:
    """Images of a group in a shard."""

    first: str  # the first of their names in alphabetical order
    # by folder, then by the split that the source gives, "" for none
    numbers: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return sum(sum(numbers.values()) for numbers in self.numbers.values())


@dataclass(frozen=True)
class ShardCount:
    """What a shard holds."""

    folders: dict[str, SplitCounts]  # images without a group, by their folder
    labels: frozenset[Label]
    captions: frozenset[str]  # languages
    keywords: frozenset[str]  # languages
    skipped: tuple[SkippedFile, ...] = ()
    groups: dict[str, GroupCount] = field(default_factory=dict)
    has_pairs: bool = False  # images before and after an edit

    @property
    def total(self) -> int:
        return sum(count.total for count in (*self.folders.values(), *self.groups.values()))


@dataclass(frozen=True)
class SetCounts:
    """What all shards of a set hold."""

    shards: tuple[dict[str, SplitCounts], ...]  # images without a group, by their folder
    labels: tuple[Label, ...]
    captions: tuple[str, ...]  # languages
    keywords: tuple[str, ...]  # languages
    skipped: int = 0  # files in the shards that are not used
    examples: tuple[SkippedFile, ...] = ()  # of these
    groups: tuple[dict[str, GroupCount], ...] = ()  # of each shard; () if there are none
    has_pairs: bool = False  # images before and after an edit
