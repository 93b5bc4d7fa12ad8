"""Shards on other machines: `s3://`, `gs://`, `hf://`, `https://`, with `*` and braces."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pinxit.console import echo, pluralize
from pinxit.data.record import Listed, Record
from pinxit.data.records import Source, SourceType
from pinxit.data.remote.downloads import Downloads
from pinxit.data.remote.files import Found, describe_remote, find_remote, is_remote, read_remote
from pinxit.data.shards.files import splits_of_shards
from pinxit.data.shards.manifest import MANIFEST, Manifest, check_complete, parse_manifest
from pinxit.data.shards.patterns import expand_braces
from pinxit.data.shards.shard_set import Located, ReadShard, Shard, ShardSet
from pinxit.data.sources import parquet, webdataset
from pinxit.data.streams.lazy_records import read_again
from pinxit.data.typed_json import decode_json
from pinxit.errors import PinxitError, UsageError
from pinxit.extras import require_extra

REQUESTS = 16  # at a time, of the sizes of shards
READERS: dict[str, ReadShard] = {".tar": webdataset.read_shard, ".parquet": parquet.read_shard}


def open_remote(data: str, seed: int) -> Source | None:
    if not is_remote(data):
        return None
    sets: list[ShardSet] = []

    def find() -> ShardSet:
        if not sets:
            sets.append(find_set(data))
        return sets[0]

    def with_groups(group_by: str) -> Source:
        return Source(
            data,
            lambda: find().key(),
            lambda: _list_records(find(), group_by),
            with_groups=with_groups,
            counts_files=True,
            shards=find,
        )

    return with_groups("auto")


def find_set(data: str) -> ShardSet:
    """Return the shards that an address names.

    Their names, sizes and checksums are those of the list that `pinxit shard` wrote beside them, or
    else those of the server. Raises PinxitError if there is none.
    """
    names = [name.rstrip("/") for name in expand_braces(data)]
    is_file = all(suffix_of(name) in READERS for name in names)
    has_magic = any(mark in name for name in names for mark in "*?[")
    folders = {_parent(name) if is_file else name for name in names}
    base = common_folder(sorted(folders))
    manifest = _read_manifest(base) if len(folders) == 1 else None
    if manifest is not None and not has_magic:
        known = {info.name: info for info in manifest.shards}
        if not is_file:
            check_complete(manifest, known, base)
        chosen = [name.removeprefix(f"{base}/") for name in names] if is_file else list(known)
        if all(name in known for name in chosen):
            infos = [known[name] for name in chosen]
            shards = [Shard(info.name, info.bytes, info.crc32) for info in infos]
            return _make_set(data, base, shards, manifest)
    with ThreadPoolExecutor(REQUESTS, thread_name_prefix="pinxit-find") as pool:
        if has_magic or not is_file:
            listings = pool.map(find_remote, names)
            found = [f for files in listings for f in files if suffix_of(f.address) in READERS]
        else:
            found = list(pool.map(describe_remote, names))
    found = _leave_out_tables(data, found)
    if not found:
        raise PinxitError(
            f"{data} has no shards: no file there ends in .tar or .parquet.\n"
            "Check the address, or write shards (pinxit shard DATA OUT) and copy them there."
        )
    base = common_folder(sorted({_parent(file.address) for file in found}))
    shards = [Shard(f.address.removeprefix(f"{base}/"), f.size, f.version) for f in found]
    return _make_set(data, base, shards, manifest)


def _leave_out_tables(data: str, files: Sequence[Found]) -> list[Found]:
    """Return the files without tables that describe `.tar` shards of their names, and say so."""
    stems = {_stem(file.address) for file in files if suffix_of(file.address) == ".tar"}
    tables = [file for file in files if suffix_of(file.address) == ".parquet"]
    if not stems or not stems.issuperset(_stem(file.address) for file in tables):
        return list(files)
    if tables:
        number = pluralize(len(tables), "Parquet file")
        echo(f"{data}: {number} beside shards of the same name not used")
    return [file for file in files if suffix_of(file.address) != ".parquet"]


def _stem(address: str) -> str:
    return address.rpartition(".")[0]


def _make_set(data: str, base: str, shards: Sequence[Shard], manifest: Manifest | None) -> ShardSet:
    suffixes = {suffix_of(shard.name) for shard in shards}
    if len(suffixes) > 1:
        raise UsageError(f"{data} has shards of several kinds: {', '.join(sorted(suffixes))}.")
    suffix = suffixes.pop()
    if suffix == ".parquet":
        require_extra("parquet", f"reading {data}")
    shards = sorted(shards, key=lambda shard: shard.name)
    splits, _ = splits_of_shards(Path(), [Path(shard.name) for shard in shards])
    checksums = {info.name: info.crc32 for info in manifest.shards} if manifest else {}
    store = Downloads(base, checksums)
    counts = manifest.counts_of(shards) if manifest else None
    return ShardSet(
        data, tuple(shards), tuple(splits), READERS[suffix], store.fetch, counts, store.reserve
    )


def _read_manifest(base: str) -> Manifest | None:
    """Return the list of shards in a folder; None if there is none, or one of another format."""
    content = read_remote(f"{base}/{MANIFEST}")
    if content is None:
        return None
    try:
        return parse_manifest(decode_json(content), f"{base}/{MANIFEST}")
    except (PinxitError, ValueError) as error:
        echo(f"{base}/{MANIFEST} is not used: {str(error).splitlines()[0]}")
        return None


def _list_records(shards: ShardSet, group_by: str) -> Iterator[Listed]:
    """Yield what all shards contain; their files are fetched, again when an image is read."""
    items: list[tuple[str, Record]] = []
    for i, shard in enumerate(shards.shards):
        for item in shards.items(i, group_by):
            if isinstance(item, Located):
                items.append((item.path, read_again(item.record, shards, shard)))
            else:
                yield item
    finish: Callable[..., Iterator[Listed]] = webdataset.add_folders
    yield from finish(items)


def suffix_of(name: str) -> str:
    """Return the suffix of a file's name, in lower case."""
    return Path(name.rpartition("/")[2]).suffix.lower()


def _parent(address: str) -> str:
    return address.rpartition("/")[0]


def common_folder(folders: Sequence[str]) -> str:
    """Return the folder that holds all of these, which are sorted."""
    first, last = folders[0].split("/"), folders[-1].split("/")
    common = []
    for a, b in zip(first, last, strict=False):
        if a != b:
            break
        common.append(a)
    return "/".join(common)


SOURCE_TYPE = SourceType(
    pattern="ADDRESS of shards (s3://, gs://, hf://, https://)",
    description="WebDataset shards or Parquet files on other machines: a file, a folder, or a "
    "pattern with * and braces. Too large for memory, they are streamed.",
    examples=("s3://bucket/shards/", "'https://host/set/{000..009}.tar'"),
    open=open_remote,
    match_order=0,
)
