"""Why a file is not read: the true reason, by its content; and files that are read all the same."""

from __future__ import annotations

import io
import re
import struct
import time
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from pinxit.data.decode import read_size
from tests.data.test_decode import decode_bytes, encode, unreadable_reason
from tests.data.test_values import chunk, tiff, wide_gamut_profile

PIXELS = np.random.default_rng(3).integers(0, 256, (32, 32, 3), np.uint8)
PNG = encode(Image.fromarray(PIXELS))
BODY = 33  # where the chunks after the header begin
END = -12
TEXT = zlib.compress(b"node " * 400_000)  # 2 MB


def insert(data: bytes, at: int = BODY) -> bytes:
    return PNG[:at] + data + PNG[at:]


@pytest.mark.parametrize("at", [BODY, END], ids=["before", "after"])
@pytest.mark.parametrize(
    "data",
    [
        chunk(b"zTXt", b"workflow\0\0" + TEXT),
        chunk(b"iTXt", b"workflow\0\1\0\0\0" + TEXT),
        chunk(b"iCCP", b"icc\0\0" + TEXT),
        b"".join(chunk(b"zTXt", b"%d\0\0" % i + zlib.compress(bytes(900_000))) for i in range(80)),
        struct.pack(">I", 3) + b"tEXta\0b" + bytes(4),  # a wrong checksum
        struct.pack(">I", 4) + b"gAMA" + bytes(8),
        struct.pack(">I", 9) + b"eXIf" + b"MM\0*" + bytes(9),
    ],
    ids=["zTXt", "iTXt", "iCCP", "many", "checksum", "gAMA", "eXIf"],
)
def test_a_png_is_read_whatever_its_ancillary_chunks_hold(data, at):
    content = insert(data, at)
    assert (decode_bytes(content, 32, 32) == PIXELS).all()
    assert read_size(lambda: content) == (32, 32)


def test_a_large_profile_of_a_png_is_applied_if_it_is_one():
    profile = wide_gamut_profile() + np.random.default_rng(0).bytes(2_000_000)
    large = chunk(b"iCCP", b"icc\0\0" + zlib.compress(profile))
    small = chunk(b"iCCP", b"icc\0\0" + zlib.compress(wide_gamut_profile()))
    expected = decode_bytes(insert(small), 32, 32)
    assert (decode_bytes(insert(large), 32, 32) == expected).all()
    assert (expected != PIXELS).any()


def test_text_that_decompresses_to_far_more_is_dropped_without_decompressing_it():
    bomb = zlib.compressobj(9)
    compressed = b"".join(bomb.compress(bytes(1 << 24)) for _ in range(4)) + bomb.flush()
    for name, head in ((b"zTXt", b"a\0\0"), (b"iCCP", b"a\0\0")):
        start = time.monotonic()
        assert decode_bytes(insert(chunk(name, head + compressed)), 32, 32).shape == (32, 32, 3)
        assert time.monotonic() - start < 2


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\0\0\0\x1cftypavif" + bytes(99), "a damaged AVIF file"),
        (b"\xff\x0a" + bytes(99), "JPEG XL is not supported; convert it to PNG or JPEG"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL is not supported"),
        (b"8BPS\0\1" + bytes(99), "a Photoshop file is not supported; export it as PNG"),
        (bytes(128) + b"DICM", "DICOM is not supported; convert it to 16-bit PNG or TIFF"),
        (b"\0\0\0\x18ftypisom" + bytes(99), "a video is not supported"),
        (b"%PDF-1.4\n", "not an image but a PDF document; export its pages as PNG"),
        (b"<!DOCTYPE html>", "not an image but a web page; download the image again"),
        (b"<?xml version='1.0'?>\n<svg>", "not an image but SVG; export it as PNG"),
        (b'{"error": 404}', "not an image but text"),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "not an image but a pointer to a file",
        ),
        (bytes(5_000), "not an image: it begins with zeros only"),
        (b"\x7f\x80\x81" * 50, "not an image, or of an unknown format"),
        (b"\xff\xd8\xff\xe0", "a damaged JPEG file"),
        (b"II*\0" + bytes(99), "a damaged TIFF file"),
        (PNG[:29] + bytes(4) + PNG[33:], "the checksum of its PNG chunk IHDR is wrong"),
    ],
)
def test_the_reason_is_what_the_first_bytes_say(content, reason):
    assert re.search(reason, unreadable_reason(content))


def test_a_tiff_of_many_channels_says_so(tmp_path):
    planes = np.zeros((5, 16, 16), np.uint16)
    content = tiff(planes, planarconfig=2, photometric="minisblack")
    assert "a TIFF of 5 channels" in unreadable_reason(content)


def test_big_tiff_is_read():
    file = io.BytesIO()
    tifffile.imwrite(file, PIXELS, bigtiff=True, photometric="rgb")
    assert (decode_bytes(file.getvalue(), 32, 32) == PIXELS).all()
