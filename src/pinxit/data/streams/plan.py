"""Decide whether a source is streamed, and make a stream of it and of a sample of its images."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pinxit.console import pluralize
from pinxit.data.groups import (
    MODES,
    NoGroups,
    describe_no_groups,
    describe_number_of_groups,
)
from pinxit.data.images import SPLITS, Images
from pinxit.data.load_options import LoadOptions, make_load_options
from pinxit.data.parallel_decode import ImageShape
from pinxit.data.records import Source
from pinxit.data.shards.shard_set import ShardSet
from pinxit.data.shards.split_counts import SetCounts
from pinxit.data.streams.counting import count_set
from pinxit.data.streams.division import LEFT_OUT, Division, count_groups, divide_set
from pinxit.data.streams.sample import sample_source
from pinxit.data.streams.shard_stream import ShardStream
from pinxit.errors import PinxitError, UsageError

# larger sources are counted before the list of their images is held in memory
MANY_IMAGES = 1_000_000
LARGE_BYTES = 4 << 30  # of shards of which there is no list

Finish = Callable[[Images], Images]


@dataclass(frozen=True)
class StreamPlan:
    """A source that can be streamed, with the source of a sample of its images."""

    source: Source
    shards: ShardSet
    counts: SetCounts
    division: Division
    options: LoadOptions

    def sample(self, share: float = 1.0) -> Source:
        """Return the source of a sample, of a share of its usual number of images."""
        group_by = self.options.group_by
        return sample_source(self.source, self.shards, self.division, group_by, share)

    def count_bytes(self, sample: Images) -> int:
        """Return the bytes that all images take in the shape of the sample."""
        return self.division.total("all") * int(np.prod(sample.pixels.shape[1:]))

    def complete(self, sample: Images) -> Images:
        """Return the sample with the labels and the languages of all images."""
        names = self.division.label_names
        labels = None
        if names:
            index = {name: i for i, name in enumerate(names)}
            table = np.array([index.get(name, -1) for name in sample.label_names] + [-1], np.int64)
            none = np.full(len(sample), -1, np.int64)
            labels = none if sample.labels is None else table[sample.labels]
        captions, keywords = dict(sample.captions), dict(sample.keywords)
        for language in self.counts.captions:
            captions.setdefault(language, [""] * len(sample))
        for language in self.counts.keywords:
            if not self._is_merged(language):
                keywords.setdefault(language, [()] * len(sample))
        return dataclasses.replace(
            sample,
            labels=labels,
            label_names=names,
            captions=dict(sorted(captions.items())),
            keywords=dict(sorted(keywords.items())),
            skipped=(*sample.skipped, *self.counts.examples),
        )

    def _is_merged(self, language: str) -> bool:
        """Return whether keywords of a language have the one of the captions instead."""
        return language == "und" and len(self.counts.captions) == 1

    def attach(self, sample: Images, finish: Finish) -> Images:
        """Return the sample, completed and finished, with the stream that it stands for."""
        conversion = make_load_options(sample.conversion).conversion
        dims = sample.height, sample.width, sample.channels
        shape = ImageShape(*dims, self.options.fit, conversion)
        options = self.options
        stream = ShardStream(
            self.shards, self.counts, self.division, shape, finish, options.group_by,
            options.stream_window, options.strict,
        )  # fmt: skip
        if not stream.count("train"):
            raise PinxitError(f"{self.shards.name} has no training images.")
        totals = {split: self.division.total(split) for split in SPLITS}
        facts = [sample.fingerprint, self.shards.identity(), totals, options.stream_window]
        digest = hashlib.blake2b(repr(facts).encode(), digest_size=16)
        notes = (*sample.notes, *self._notes(sample))
        lost = (note.text for note in self.division.label_notes if note.is_loss)
        return dataclasses.replace(
            sample,
            stream=stream,
            fingerprint=digest.hexdigest(),
            notes=notes,
            losses=(*sample.losses, *lost),
        )

    def _notes(self, sample: Images) -> list[str]:
        total = {name: self.division.total(name) for name in SPLITS}
        held_out = ", ".join(f"{n:,} {name}" for name, n in total.items() if n and name != "train")
        drawn = " and ".join(sorted(self.division.drawn))
        how = f" ({drawn} by a hash of the name)" if drawn else ""
        lines = [
            f"streamed: {pluralize(self.division.total('all'), 'image')} in "
            f"{pluralize(len(self.shards.shards), 'shard')}, of which {held_out or 'none'} are "
            f"never trained on{how}",
            f"statistics, previews and evaluations use a sample of {len(sample):,}; copies of "
            "images are not searched for",
            *(note.text for note in self.division.label_notes),
        ]
        if number := count_groups(self.counts):
            lines.append(
                describe_number_of_groups(
                    number, (name for groups in self.counts.groups for name in groups)
                )
            )
        if number := self.division.total(LEFT_OUT):
            lines.append(
                f"{pluralize(number, 'image')} left out of training: the source has test or "
                "validation images of the same groups"
            )
        if self.counts.skipped:
            first = self.counts.examples[0]
            lines.append(
                f"{pluralize(self.counts.skipped, 'file')} in the shards not used, such as "
                f"{first.name} ({first.reason})"
            )
        return lines


def plan_stream(
    source: Source, options: LoadOptions, progress: bool, *, is_large: bool = False
) -> StreamPlan | None:
    """Return a plan of a stream; None if the source is not one, or is small.

    `is_large`: it is known to be too large for the cache. Raises UsageError if `--stream on` is
    given for another source, or with `--limit`.
    """
    if options.stream == "off":
        return None
    if source.shards is None:
        if options.stream == "on":
            raise UsageError(
                f"{source.name} cannot be streamed: streams are of shards (.tar, .parquet).\n"
                f"Write them: pinxit shard {source.name} OUT"
            )
        return None
    if options.limit is not None:
        if options.stream == "on":
            raise UsageError("--limit does not go with --stream on: name fewer shards.")
        return None
    if options.group_by == "burst":
        if options.stream == "on":
            raise UsageError("--group-by burst does not go with --stream on.")
        return None
    shards = source.shards()
    if options.stream == "auto" and not is_large and not _may_be_large(shards):
        return None
    counts = count_set(shards, options.group_by, progress)
    if counts.has_pairs:
        if options.stream == "on":
            raise UsageError(
                f"{source.name} has images before and after edits; streams hold no such pairs.\n"
                "Load it without a stream: --stream off"
            )
        return None
    if options.group_by not in MODES and not count_groups(counts):
        raise NoGroups(describe_no_groups(source.name, options.group_by))
    division = divide_set(counts)
    if not division.total("all"):
        raise PinxitError(f"there is no image in {source.name}.{_first_reason(counts)}")
    return StreamPlan(source, shards, counts, division, options)


def _may_be_large(shards: ShardSet) -> bool:
    if shards.counts is not None:
        folders = (counts for folders in shards.counts.shards for counts in folders.values())
        return sum(counts.total for counts in folders) > MANY_IMAGES
    return shards.size > LARGE_BYTES


def _first_reason(counts: SetCounts) -> str:
    if not counts.examples:
        return ""
    return f" {counts.examples[0].name}: {counts.examples[0].reason}."
