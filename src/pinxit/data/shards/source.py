"""Open a file or a folder of shards as a source."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pinxit.data.records import Listed, Source, hash_files
from pinxit.data.shards.files import find_shards, list_beside
from pinxit.data.shards.patterns import find_matches, is_pattern
from pinxit.data.sources.folder import has_images

# (folder, shards, group_by) -> what the shards contain
ListRecords = Callable[[Path, Sequence[Path], str], Iterator[Listed]]


def open_shards(
    data: str, suffix: str, list_records: ListRecords, *, counts_files: bool = False
) -> Source | None:
    """Open a shard with this suffix, a folder or a pattern of them; None if DATA is none of these.

    Beside image files, shards may hold other data, such as embeddings: then None.
    """
    path = Path(data).expanduser()
    if path.is_dir():
        root, shards = path, find_shards(path, suffix)
        if not shards or has_images(path):
            return None
    elif path.is_file() and path.suffix.lower() == suffix:
        root, shards = path.parent, [path]
    elif is_pattern(data, suffix):
        root, shards = find_matches(data)
    else:
        return None

    def with_groups(group_by: str) -> Source:
        return Source(
            data,
            lambda: hash_files(root, shards),
            lambda: list_records(root, shards, group_by),
            list_unused=lambda: list_beside(root, shards) if path.is_dir() else [],
            with_groups=with_groups,
            counts_files=counts_files,
        )

    return with_groups("auto")
