"""Shards of other machines on this one's disk: fetched when they are read, the oldest removed.

    downloads/<24 hex digits>/<name of the shard>

Processes of one machine share them. A file that another process removed is fetched again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
import time
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock

from pinxit.data.cache import cache_dir
from pinxit.data.remote.files import download
from pinxit.data.shards.shard_set import FETCHES, LocalShard, Shard, is_safe_name
from pinxit.errors import PinxitError, describe_os_error

FOLDER = "downloads"  # in the cache
MAX_BYTES = 8 << 30  # that are kept, but at least what a stream reads at a time
# what is raised if another process removes a folder while a file is fetched; `mkdir` finds it and
# then finds that it is no folder
REMOVED_MEANWHILE = (FileNotFoundError, FileExistsError)
MIN_AGE_SECONDS = 60.0  # since the last use: a younger file may be another process's


@dataclass
class Downloads:
    """Fetches shards to a folder of the cache, or to a temporary one if it cannot be written."""

    base: str  # address of the set, without a final slash
    checksums: dict[str, str] = field(default_factory=dict)  # CRC-32 by name of shard, if known
    max_bytes: int = MAX_BYTES

    def reserve(self, size: int) -> None:
        """Keep at least `size` bytes of files, which a stream reads at a time."""
        self.max_bytes = max(self.max_bytes, size)

    def fetch(self, shard: Shard) -> LocalShard:
        """Return the file of a shard, downloaded if it is not there.

        Raises PinxitError if it cannot be downloaded, is cut off or damaged on the way, if the disk
        is full, or if its name is that of a file outside the folder.
        """
        if not is_safe_name(shard.name):
            raise PinxitError(f"{self.base} names a shard outside its folder: {shard.name!r}.")
        for _ in range(FETCHES):
            with contextlib.suppress(*REMOVED_MEANWHILE):
                return self._fetch(f"{self.base}/{shard.name}", shard)
        raise PinxitError(
            f"{shard.name} is removed from {_root()} as soon as it is there.\n"
            "Give the cache more room (pinxit cache --max-size), or set PINXIT_CACHE."
        )

    def _fetch(self, address: str, shard: Shard) -> LocalShard:
        key = repr((address, shard.size, shard.version)).encode()
        folder = _root() / hashlib.blake2b(key, digest_size=12).hexdigest()
        local = LocalShard(folder, folder / shard.name)
        try:
            if not local.file.is_file():
                folder.mkdir(parents=True, exist_ok=True)
                with FileLock(folder / ".lock"):
                    if not local.file.is_file():
                        self._download(address, shard, local)
            with contextlib.suppress(OSError):
                os.utime(folder)
        except REMOVED_MEANWHILE:
            raise
        except OSError as error:
            raise PinxitError(f"{address} cannot be kept: {describe_os_error(error)}") from None
        return local

    def _download(self, address: str, shard: Shard, local: LocalShard) -> None:
        self._make_room(shard.size or 0, local.root)
        local.file.parent.mkdir(parents=True, exist_ok=True)
        part = local.file.with_name(f".{local.file.name}.part")
        try:
            download(address, part, shard.size)
            expected = self.checksums.get(shard.name)
            if expected is not None and _crc32(part) != expected:
                raise PinxitError(
                    f"{address} has another checksum than its list of shards says.\n"
                    "It was damaged or replaced: copy or write the shards again."
                )
            part.replace(local.file)
        finally:
            part.unlink(missing_ok=True)

    def _make_room(self, size: int, keep: Path) -> None:
        """Remove the files that were not used for longest, but none that is being written."""
        folders = []
        with contextlib.suppress(OSError):
            for folder in _root().iterdir():
                with contextlib.suppress(OSError):
                    files = [file for file in folder.rglob("*") if file.is_file()]
                    held = sum(file.stat().st_size for file in files)
                    if held and not any(file.suffix == ".part" for file in files):
                        folders.append((folder.stat().st_mtime, held, folder))
        total = size + sum(held for _, held, _ in folders)
        for used, held, folder in sorted(folders):
            if total <= self.max_bytes:
                break
            if folder != keep and time.time() - used > MIN_AGE_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)
                total -= held


def _root() -> Path:
    """Return the folder of downloads, one that can be written."""
    root = cache_dir() / FOLDER
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError:
        return Path(tempfile.gettempdir()) / f"pinxit-{os.getuid()}" / FOLDER
    return root


def _crc32(file: Path) -> str:
    value = 0
    with file.open("rb") as content:
        while block := content.read(1 << 20):
            value = zlib.crc32(block, value)
    return f"{value:08x}"
