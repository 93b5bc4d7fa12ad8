"""Mend PNG files whose pixels are intact: drop what a reader may ignore (PNG specification, 5).

A name whose first letter is lower case marks an ancillary chunk: text, profiles, dates.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_KEPT_BYTES = 1 << 16  # of an ancillary chunk
MAX_PROFILE_BYTES = 16 << 20  # of a color profile, decompressed
# text, which may decompress to more than Pillow accepts, and profiles, which are returned apart
_DROPPED = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")


def drop_ancillary_chunks(content: bytes) -> tuple[bytes, bytes]:
    """Return a PNG file without text, profiles and damaged ancillary chunks; and its ICC profile.

    The profile is empty if there is none, or if it is damaged. Content that is not PNG is returned
    unchanged.
    """
    if not content.startswith(SIGNATURE):
        return content, b""
    kept, profile = [SIGNATURE], b""
    for name, data, whole in _list_chunks(content):
        if name == b"iCCP":
            profile = _decompress_profile(data)
        if not name[:1].islower() or (
            name not in _DROPPED and len(data) <= MAX_KEPT_BYTES and _is_intact(name, whole)
        ):
            kept.append(whole)
    return b"".join(kept), profile


def find_damaged_chunk(content: bytes) -> str:
    """Return the name of the first critical chunk with a wrong checksum; "" if there is none."""
    if not content.startswith(SIGNATURE):
        return ""
    for name, _, whole in _list_chunks(content):
        if name[:1].isupper() and not _is_intact(name, whole):
            return name.decode("latin-1")
    return ""


def _list_chunks(content: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Yield the name, the data and all bytes of each chunk."""
    start = len(SIGNATURE)
    while start + 8 <= len(content):
        length, name = struct.unpack_from(">I4s", content, start)
        yield name, content[start + 8 : start + 8 + length], content[start : start + 12 + length]
        start += 12 + length


def _is_intact(name: bytes, chunk: bytes) -> bool:
    return name.isalpha() and zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:], "big")


def _decompress_profile(data: bytes) -> bytes:
    """Return the ICC profile of an iCCP chunk: a name, a zero, the method 0 and zlib data."""
    _, _, compressed = data.partition(b"\0")
    try:
        profile = zlib.decompressobj().decompress(compressed[1:], MAX_PROFILE_BYTES)
    except zlib.error:
        return b""
    return profile if profile[36:40] == b"acsp" else b""
