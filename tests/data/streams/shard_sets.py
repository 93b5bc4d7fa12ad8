"""Folders of small shards, for tests of streams."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from tests.data.test_decode import encode


def image_bytes(i: int, size: int = 8) -> bytes:
    """A PNG whose pixels say its number."""
    pixels = np.random.default_rng(i).integers(0, 256, (size, size), np.uint8)
    return encode(Image.fromarray(pixels))


def write_shard(path: Path, files: Iterable[tuple[str, bytes]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def write_shards(folder: Path, sizes: Iterable[int], captions: bool = False) -> Path:
    """Shards of so many images each, numbered on; with labels, and captions if they are used."""
    number = 0
    for k, size in enumerate(sizes):
        files = []
        for i in range(number, number + size):
            files.append((f"{i:06d}.png", image_bytes(i)))
            files.append((f"{i:06d}.cls", b"odd" if i % 2 else b"even"))
            if captions:
                files.append((f"{i:06d}.en.txt", f"image {i}".encode()))
        write_shard(folder / f"{k:04d}.tar", files)
        number += size
    return folder
