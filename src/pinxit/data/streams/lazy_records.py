"""Records whose file may be gone when their image is read: it is fetched again."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from pinxit.data.record import Record
from pinxit.data.shards.shard_set import Shard, ShardSet


def read_again(record: Record, shards: ShardSet, shard: Shard) -> Record:
    """Return a record that fetches its shard again if the file was removed meanwhile."""
    read = functools.partial(_read, record, shards, shard)
    return dataclasses.replace(record, read=read)


def _read(record: Record, shards: ShardSet, shard: Shard) -> bytes | np.ndarray:
    try:
        return record.read()
    except FileNotFoundError:
        shards.fetch(shard)
        return record.read()
