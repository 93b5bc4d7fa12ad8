"""Open a file or a folder of shards as a source."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pinxit.data.home_folder import expand_home
from pinxit.data.records import Listed, Source, hash_files
from pinxit.data.shards.files import find_shards, list_beside, splits_of_shards
from pinxit.data.shards.manifest import check_complete, read_manifest
from pinxit.data.shards.patterns import find_matches, is_pattern
from pinxit.data.shards.shard_set import LocalShard, ReadShard, Shard, ShardSet
from pinxit.data.sources.folder import has_images
from pinxit.errors import PinxitError

# (folder, shards, group_by) -> what the shards contain
ListRecords = Callable[[Path, Sequence[Path], str], Iterator[Listed]]


def open_shards(
    data: str,
    suffix: str,
    list_records: ListRecords,
    read_shard: ReadShard,
    *,
    counts_files: bool = False,
    hash_linked: Callable[[Path, Sequence[Path]], str] = lambda root, shards: "",
) -> Source | None:
    """Open a shard with this suffix, a folder or a pattern of them; None if DATA is none of these.

    Beside image files, shards may hold other data, such as embeddings: then None. `hash_linked`
    returns a hash of the files that the shards name, "" for none.
    """
    path = expand_home(data)
    if path.is_dir():
        root, shards = path, find_shards(path, suffix)
        if not shards or has_images(path):
            return None
        _check_complete(root, shards)
    elif path.is_file() and path.suffix.lower() == suffix:
        root, shards = path.parent, [path]
    elif is_pattern(data, suffix):
        root, shards = find_matches(data)
    else:
        return None

    def with_groups(group_by: str) -> Source:
        return Source(
            data,
            lambda: hash_files(root, shards) + hash_linked(root, shards),
            lambda: list_records(root, shards, group_by),
            list_unused=lambda: list_beside(root, shards) if path.is_dir() else [],
            with_groups=with_groups,
            counts_files=counts_files,
            shards=lambda: _local_set(data, root, shards, read_shard),
        )

    return with_groups("auto")


def _check_complete(root: Path, files: Sequence[Path]) -> None:
    """Raise PinxitError for a folder that lacks shards; a damaged manifest says nothing."""
    try:
        manifest = read_manifest(root)
    except PinxitError:
        return
    if manifest is not None:
        names = {file.relative_to(root).as_posix() for file in files}
        check_complete(manifest, names, str(root))


def _local_set(data: str, root: Path, files: Sequence[Path], read: ReadShard) -> ShardSet:
    """Return the shards with their sizes, and the manifest if it lists all of them."""
    splits, _ = splits_of_shards(root, files)
    names = [file.relative_to(root).as_posix() for file in files]
    shards = tuple(Shard(name, *_size_and_time(root / name)) for name in names)

    def fetch(shard: Shard) -> LocalShard:
        if not (root / shard.name).is_file():
            raise PinxitError(
                f"{root / shard.name} is not there any more.\n"
                "Put it back and start the same command again; a training goes on with --resume."
            )
        return LocalShard(root, root / shard.name, is_only=len(files) == 1)

    try:
        manifest = read_manifest(root)
    except PinxitError:  # of an older format, or damaged: the shards are counted
        manifest = None
    counts = None if manifest is None else manifest.counts_of(shards)
    return ShardSet(data, shards, tuple(splits), read, fetch, counts)


def _size_and_time(file: Path) -> tuple[int | None, str]:
    try:
        stat = file.stat()
    except OSError:
        return None, ""
    return stat.st_size, f"{stat.st_mtime_ns} {stat.st_ino}"
