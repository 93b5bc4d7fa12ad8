"""`shard`: write the images of any source as WebDataset shards, in parallel and resumable.

Shard k holds the images from k x per_shard on, with the same bytes whenever it is written. A shard
gets its name when it is complete, so a kill at any moment leaves complete shards, and the same call
writes those that are missing.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import os
import tarfile
import time
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path
from typing import BinaryIO

import numpy as np
from filelock import FileLock, Timeout

from pinxit.console import echo, pluralize, track
from pinxit.data.atomic_write import remove_unfinished
from pinxit.data.cache import cache_key
from pinxit.data.decode import UnreadableImage, read_size
from pinxit.data.decoding.opening import ignore_pillow_warnings
from pinxit.data.home_folder import expand_home
from pinxit.data.listing import Listing, list_source
from pinxit.data.records import Record, Source
from pinxit.data.shape_choice import describe_unreadable
from pinxit.data.shards.count import count_shard
from pinxit.data.shards.manifest import LOCK, Manifest, ShardInfo, check_output
from pinxit.data.shards.sample_files import sample_files, sample_key
from pinxit.data.shards.shard_set import LocalShard
from pinxit.data.shards.split_counts import ShardCount, SplitCounts
from pinxit.data.skipped import SkippedFile, summarize_skipped, without_system_files
from pinxit.data.sources import open_source
from pinxit.data.sources.webdataset import read_shard
from pinxit.errors import PinxitError, UsageError

PER_SHARD = 1_000
MAX_SKIPPED_NAMES = 1_000  # unreadable images that the manifest names
SECONDS_BETWEEN_RECORDS = 2.0  # of the manifest while shards are written


def shard(
    data: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    per_shard: int = PER_SHARD,
    workers: int | None = None,
    quiet: bool = False,
) -> Manifest:
    """Write the images of a source to `out` as WebDataset shards, and return their manifest.

    Image files keep their bytes; arrays are encoded without loss. Labels are `.cls`, a caption is
    `.txt`, and the rest `.json`. The call can be made again after an interrupt: complete shards are
    kept. `Manifest.notes` says what of the source the shards do not hold; it is printed, unless
    `quiet` is True. `workers` is the number of threads (default: one per core). The list of the
    images with their texts is held in memory, but no more images than there are threads.

    Raises UsageError for an unknown source and for an output of another source, PinxitError if no
    image can be read, or if another process writes `out`.
    """
    if "://" in str(out):
        raise UsageError(f"shards are written to a folder of this machine, not to {out}.")
    if per_shard < 1 or (workers is not None and workers < 1):
        raise UsageError("per_shard and workers are numbers of 1 or more.")
    folder, source = expand_home(out), open_source(data)
    listing = _list_images(source)
    key = cache_key(source.compute_key())
    planned = Manifest(source.name, key, per_shard, len(listing.records), has_groups=False)
    found = check_output(folder, planned)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / LOCK, timeout=0), ignore_pillow_warnings():
            found = check_output(folder, planned)  # as it is now that no other process writes it
            writer = _Writer(folder, listing.records, found or planned)
            writer.run(workers, quiet)
            manifest = writer.finish(source, listing)
    except Timeout:
        raise PinxitError(f"another process writes {folder}; wait for it.") from None
    if not quiet:
        for note in manifest.notes:
            echo(f"{manifest.source}: {note}")
    return manifest


def _list_images(source: Source) -> Listing:
    """List a source. Raises UsageError for pairs, PinxitError if it has no image."""
    listing = list_source(source)
    if not listing.records:
        skipped = without_system_files([*listing.skipped, *source.list_unused()])
        raise PinxitError(describe_unreadable(source, skipped))
    if any(Path(record.name).stem == "before" for record in listing.records):
        raise UsageError(
            f"{source.name} has images before and after edits; shards do not hold such pairs."
        )
    return listing


class _Writer:
    """Writes the shards of a folder that are missing."""

    def __init__(self, folder: Path, records: Sequence[Record], manifest: Manifest) -> None:
        self.folder, self.records, self.manifest = folder, records, manifest
        self.complete = {s.name: s for s in manifest.shards if _is_complete(folder, s)}
        self.skipped = dict(manifest.skipped)
        self.starts = range(0, len(records), manifest.per_shard)

    def run(self, workers: int | None, quiet: bool) -> None:
        missing = [i for i in range(len(self.starts)) if shard_name(i) not in self.complete]
        kept = len(self.starts) - len(missing)
        if kept and not quiet:
            echo(f"{self.folder}: {kept:,} of {pluralize(len(self.starts), 'shard')} are complete")
        remove_unfinished(self.folder)
        self.manifest = dataclasses.replace(self.manifest, finished=False)
        try:
            for _ in track(self._write_all(missing, workers), len(missing), "shards", not quiet):
                pass
        finally:
            self._record(finished=False)

    def finish(self, source: Source, listing: Listing) -> Manifest:
        """Write the list of complete shards, with notes on what they do not hold, and return it.

        Raises PinxitError if no image can be read.
        """
        unreadable = [SkippedFile(name, reason) for name, reason in self.skipped.items()]
        skipped = [*listing.skipped, *unreadable, *source.list_unused()]
        notes = (*source.notes, *listing.notes, *summarize_skipped(skipped))
        if (more := self.manifest.not_readable - len(unreadable)) > 0:
            notes += (f"{pluralize(more, 'more image')} cannot be read",)
        self.manifest = dataclasses.replace(self.manifest, notes=notes)
        self._record(finished=True)
        if not self.manifest.samples:
            reason = next(iter(self.skipped.values()), "")
            raise PinxitError(f"no image of {self.manifest.source} can be read: {reason}.")
        return self.manifest

    def _write_all(
        self, missing: Sequence[int], workers: int | None
    ) -> Iterator[tuple[int, ShardInfo]]:
        """Yield (1, shard) as shards are complete; at most one per thread is being written."""
        recorded, indices, pending = time.monotonic(), iter(missing), set()
        self._record(finished=False)
        num_threads = workers or os.cpu_count() or 1
        pool = ThreadPoolExecutor(num_threads, thread_name_prefix="pinxit-shard")
        try:
            while True:
                while len(pending) < num_threads and (i := next(indices, None)) is not None:
                    pending.add(pool.submit(self._write_shard, i))
                if not pending:
                    return
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    info, count, skipped = future.result()
                    self.complete[info.name] = info
                    self.manifest = self.manifest.add(count)
                    room = MAX_SKIPPED_NAMES - len(self.skipped)
                    self.skipped |= dict(list(skipped.items())[: max(0, room)])
                    yield 1, info
                if time.monotonic() - recorded > SECONDS_BETWEEN_RECORDS:
                    self._record(finished=False)
                    recorded = time.monotonic()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _record(self, finished: bool) -> None:
        shards = tuple(self.complete[name] for name in sorted(self.complete))
        self.manifest = dataclasses.replace(
            self.manifest, shards=shards, skipped=self.skipped, finished=finished
        )
        self.manifest.write(self.folder)

    def _write_shard(self, number: int) -> tuple[ShardInfo, ShardCount, dict[str, str]]:
        """Write a shard, and return it, what readers find in it, and why images are left out."""
        start = self.starts[number]
        name = shard_name(number)
        temporary, skipped, samples = self.folder / f".{name}.part", {}, 0
        try:
            with temporary.open("wb") as raw:
                file = ChecksumFile(raw)
                with tarfile.open(mode="w|", fileobj=file) as tar:  # type: ignore[call-overload]
                    for i in range(start, min(start + self.manifest.per_shard, len(self.records))):
                        record = self.records[i]
                        try:
                            self._add(tar, i, record)
                            samples += 1
                        except UnreadableImage as error:
                            skipped[record.name] = str(error)
                raw.flush()
                os.fsync(raw.fileno())
            temporary.replace(self.folder / name)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        return *describe_shard(self.folder, name, samples, file), skipped

    def _add(self, tar: tarfile.TarFile, index: int, record: Record) -> None:
        content = _read(record)
        for name, data in sample_files(sample_key(index, record.name), record, content):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def describe_shard(
    folder: Path, name: str, samples: int, file: ChecksumFile
) -> tuple[ShardInfo, ShardCount]:
    """Return the entry of a complete shard in the manifest, and what readers find in it."""
    count = count_shard(read_shard(LocalShard(folder, folder / name), None, "auto"))
    splits = count.folders.get("", SplitCounts())
    return ShardInfo(name, samples, file.size, f"{file.crc32:08x}", splits), count


def _read(record: Record) -> bytes | np.ndarray:
    """Return the content of an image. Raises UnreadableImage if its header cannot be read."""
    content = functools.lru_cache(1)(record.read)
    read_size(content)
    return content()


class ChecksumFile:
    """A file that is written once from start to end, with its size and checksum."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.size, self.crc32 = file, 0, 0

    def write(self, data: bytes) -> int:
        self.size += len(data)
        self.crc32 = zlib.crc32(data, self.crc32)
        return self.file.write(data)


def shard_name(number: int) -> str:
    """Return the file name of a shard.

    >>> shard_name(12)
    'shard-000012.tar'
    """
    return f"shard-{number:06d}.tar"


def _is_complete(folder: Path, info: ShardInfo) -> bool:
    try:
        return (folder / info.name).stat().st_size == info.bytes
    except OSError:
        return False
