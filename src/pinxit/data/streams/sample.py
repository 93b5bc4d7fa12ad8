"""Some images of a stream that stand for all: from a few shards, evenly spaced.

They give the statistics, are what tokenizers and palettes are fitted to, and are the images that
previews, reports and evaluations show.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import numpy as np

from pinxit.data.images import evenly_spaced_indices
from pinxit.data.record import Listed, Note, Record
from pinxit.data.records import Source
from pinxit.data.shards.shard_set import Located, ShardSet
from pinxit.data.streams.division import LEFT_OUT, Division
from pinxit.data.streams.lazy_records import read_again

MAX_TRAINING = 4_096  # images
MAX_HELD_OUT = 2_048  # of each other split
MAX_BYTES = 1 << 30  # of decoded pixels: of large images there are fewer
NUM_SHARDS = 16  # that the images of a split are from, at most


def sample_source(
    source: Source, shards: ShardSet, division: Division, group_by: str, share: float = 1.0
) -> Source:
    """Return the source of the sample, whose images have their final splits.

    `share` is that of the usual number of images, at least one from each shard.
    """
    chosen = choose_shards(division, share)
    return Source(
        source.name,
        lambda: f"sample {chosen} {group_by} {shards.key()}",
        lambda: _list_sample(shards, division, group_by, chosen),
        notes=source.notes,
        max_bytes=MAX_BYTES,
        has_final_splits=True,
    )


def _list_sample(
    shards: ShardSet, division: Division, group_by: str, chosen: dict[int, dict[str, int]]
) -> Iterator[Listed]:
    notes: dict[Note, None] = {}
    names_only = bool(division.folder_labels) or _has_several_classes(division)
    for i, quotas in sorted(chosen.items()):
        shard, found = shards.shards[i], dict[str, list[Record]]()
        for item in shards.items(i, group_by):
            if isinstance(item, Note):
                notes[item] = None
            elif isinstance(item, Located):
                if (split := division.split_of(item)) == LEFT_OUT:
                    continue
                record = dataclasses.replace(item.record, split=split)
                name = division.label_name_of(item)
                if names_only:
                    record = dataclasses.replace(record, label=name, label_index=None)
                elif name not in (None, record.label or str(record.label_index)):
                    record = dataclasses.replace(record, label=name)  # of other records
                found.setdefault(split, []).append(read_again(record, shards, shard))
        for split, quota in quotas.items():
            records = found.get(split, [])
            yield from (records[k] for k in evenly_spaced_indices(len(records), quota))
    yield from notes


def _has_several_classes(division: Division) -> bool:
    """Return whether a number stands for several classes, or a name for several numbers.

    The images of a sample have names alone then. Else they have numbers, too, as their fingerprints
    in earlier runs say.
    """
    classes = {
        (number, label)
        for (number, _), label in division.label_index.items()
        if number is not None and number >= 0
    }
    return bool(division.label_notes) or len(classes) > len({number for number, _ in classes})


def choose_shards(division: Division, share: float = 1.0) -> dict[int, dict[str, int]]:
    """Return how many images of each split are sampled from which shards."""
    chosen: dict[int, dict[str, int]] = {}
    for split, counts in division.counts.items():
        if split == LEFT_OUT:
            continue
        rows = np.flatnonzero(counts)
        size = MAX_TRAINING if split == "train" else MAX_HELD_OUT
        rows = rows[np.unique(evenly_spaced_indices(len(rows), NUM_SHARDS))]
        for i in rows.tolist():
            chosen.setdefault(i, {})[split] = math.ceil(size * share / len(rows))
    return chosen
