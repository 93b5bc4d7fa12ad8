"""How many images of shards are in each split, and what their labels and languages are."""

from __future__ import annotations

from dataclasses import dataclass, field

from pinxit.data.skipped import SkippedFile

Label = tuple[int | None, str | None]  # number and name, as the source gives them


@dataclass(frozen=True)
class SplitCounts:
    """Numbers of images of a shard, or of a folder in it."""

    given: dict[str, int] = field(default_factory=dict)  # by the split that the source gives
    free: dict[str, int] = field(default_factory=dict)  # all others, by the split of their hash

    @property
    def total(self) -> int:
        return sum(self.given.values()) + sum(self.free.values())


@dataclass(frozen=True)
class ShardCount:
    """What a shard holds."""

    folders: dict[str, SplitCounts]  # by the folder of the images
    labels: frozenset[Label]
    captions: frozenset[str]  # languages
    keywords: frozenset[str]  # languages
    skipped: tuple[SkippedFile, ...] = ()

    @property
    def total(self) -> int:
        return sum(counts.total for counts in self.folders.values())


@dataclass(frozen=True)
class SetCounts:
    """What all shards of a set hold."""

    shards: tuple[dict[str, SplitCounts], ...]  # by the folder of the images
    labels: tuple[Label, ...]
    captions: tuple[str, ...]  # languages
    keywords: tuple[str, ...]  # languages
    skipped: int = 0  # files in the shards that are not used
    examples: tuple[SkippedFile, ...] = ()  # of these
