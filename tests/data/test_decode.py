"""Decoding of one image: every format and mode is compared with known pixels."""

from __future__ import annotations

import contextlib
import io
import resource
import struct
import time
import zlib
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from pinxit.data.decode import UnreadableImage, decode, is_grey, read_size
from pinxit.data.decoding.opening import ignore_pillow_warnings
from pinxit.data.decoding.resize import crop_box
from pinxit.data.load_options import Fit


def encode(image: Image.Image, format_: str = "PNG", **options) -> bytes:
    with io.BytesIO() as file:
        image.save(file, format_, **options)
        return file.getvalue()


def decode_bytes(content: bytes, height: int, width: int, channels: int = 3, fit="crop"):
    return decode(lambda: content, height, width, channels, fit)


def png_with_false_size(width: int, height: int) -> bytes:
    """Return a PNG whose header states a size that its data does not have."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def unreadable_reason(content: bytes) -> str:
    with ignore_pillow_warnings(), pytest.raises(UnreadableImage) as error:
        decode_bytes(content, 8, 8)
    return str(error.value)


two_sides = st.tuples(st.integers(2, 20), st.integers(2, 20))


@settings(deadline=None, max_examples=40)
@given(two_sides.flatmap(lambda s: arrays(np.uint8, (*s, 3))))
def test_a_color_png_of_the_requested_size_is_decoded_exactly(pixels):
    content = encode(Image.fromarray(pixels))
    assert (decode_bytes(content, *pixels.shape) == pixels).all()
    assert read_size(lambda: content) == pixels.shape[:2]


@settings(deadline=None, max_examples=40)
@given(two_sides.flatmap(lambda s: arrays(np.uint8, s)))
def test_a_grey_png_is_decoded_exactly_to_one_and_to_three_channels(pixels):
    content = encode(Image.fromarray(pixels))
    height, width = pixels.shape
    assert (decode_bytes(content, height, width, 1)[..., 0] == pixels).all()
    assert (decode_bytes(content, height, width, 3) == pixels[..., None]).all()


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"])
def test_every_format_is_decoded(format_):
    flat = Image.new("RGB", (12, 10), (200, 40, 90))
    decoded = decode_bytes(encode(flat, format_), 10, 12)
    assert abs(decoded.astype(int) - [200, 40, 90]).max() <= 4


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation):
    # where the top left quarter of the stored image is shown, by tag (EXIF 2.3, 4.6.4 A)
    bright = {
        1: (0, 0),
        2: (0, 1),
        3: (1, 1),
        4: (1, 0),
        5: (0, 0),
        6: (0, 1),
        7: (1, 1),
        8: (1, 0),
    }
    stored = np.zeros((32, 48), np.uint8)
    stored[:16, :24] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encode(Image.fromarray(stored), "JPEG", exif=exif, quality=95)
    height, width = (48, 32) if orientation >= 5 else (32, 48)
    assert read_size(lambda: content) == (height, width)
    decoded = decode_bytes(content, height, width, 1)[..., 0]
    quarters = decoded.reshape(2, height // 2, 2, width // 2).mean((1, 3))
    assert np.unravel_index(quarters.argmax(), (2, 2)) == bright[orientation]
    assert quarters.max() > 240
    assert np.sort(quarters.ravel())[-2] < 15


def test_alpha_is_composited_on_white():
    rgba = np.zeros((4, 4, 4), np.uint8)
    rgba[..., 0], rgba[:2, :, 3] = 200, 255
    rgba[2:, :2, 3] = 51  # a fifth
    decoded = decode_bytes(encode(Image.fromarray(rgba)), 4, 4)
    assert (decoded[0, 0] == [200, 0, 0]).all()
    assert (decoded[3, 3] == [255, 255, 255]).all()
    assert abs(decoded[3, 0].astype(int) - [244, 204, 204]).max() <= 1


def test_transparent_palette_entries_become_white():
    image = Image.new("P", (4, 4), 0)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((0, 0), 1)
    decoded = decode_bytes(encode(image, transparency=0), 4, 4)
    assert (decoded[0, 0] == [0, 0, 255]).all()
    assert (decoded[1:] == 255).all()


def test_cmyk_becomes_rgb():
    decoded = decode_bytes(encode(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"), 8, 8)
    assert decoded[..., 0].min() > 230
    assert decoded[..., 1:].max() < 60


def test_16_bit_grey_is_scaled_to_8_bits():
    values = np.linspace(0, 65_535, 64).astype(np.uint16).reshape(8, 8)
    decoded = decode_bytes(encode(Image.fromarray(values)), 8, 8, 1)[..., 0]
    assert (decoded == np.rint(values / 257)).all()


@pytest.mark.parametrize(("top", "dtype"), [(1.0, np.float32), (255.0, np.float32)])
def test_a_float_tiff_is_scaled_by_its_range(top, dtype):
    values = np.linspace(0, top, 16, dtype=dtype).reshape(4, 4)
    decoded = decode_bytes(encode(Image.fromarray(values), "TIFF"), 4, 4, 1)[..., 0]
    assert (decoded == np.rint(values * (255 / top))).all()


def test_the_first_frame_of_an_animation_is_decoded():
    frames = [Image.new("RGB", (6, 6), color) for color in ("red", "blue", "lime")]
    content = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (decode_bytes(content, 6, 6) == [255, 0, 0]).all()


def test_crop_keeps_the_middle_and_pad_keeps_the_whole_image():
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 255
    content = encode(Image.fromarray(wide))
    assert (decode_bytes(content, 10, 10) == 255).all()
    padded = decode_bytes(content, 30, 30, 1, "pad")[..., 0]
    assert (padded[10:20, 10:20] == 255).all()
    assert padded.sum() == 255 * 100  # filled with the black of the corners


@pytest.mark.parametrize(("height", "width"), [(4, 4), (64, 64), (7, 13)])
@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_an_image_of_one_color_stays_so_at_any_size(height, width, fit):
    content = encode(Image.new("RGB", (33, 21), (10, 120, 240)))
    assert (decode_bytes(content, height, width, 3, fit) == [10, 120, 240]).all()


@pytest.mark.parametrize("size", [32, 64, 96, 128, 256])
@pytest.mark.parametrize("aspect", [1, 2, 1.5])
def test_the_crop_box_is_inside_the_image_and_spans_its_smaller_side(size, aspect):
    height, width = size, int(size * aspect)
    for side in range(20, 2_001):
        for other in (side, side + 1, 2 * side, 2_000):
            for image_width, image_height in ((side, other), (other, side)):
                box = crop_box((image_width, image_height), height, width)
                left, top, right, bottom = box
                assert min(left, top) >= 0, (side, other, box)
                assert right <= image_width, (side, other, box)
                assert bottom <= image_height, (side, other, box)
                spans = (right - left) / image_width, (bottom - top) / image_height
                assert abs(max(spans) - 1) < 1e-12
                proportions = (right - left) * height / ((bottom - top) * width)
                assert abs(proportions - 1) < 1e-12


@pytest.mark.parametrize("side", [49, 98, 197, 214])
@pytest.mark.parametrize("size", [32, 64, 96, 128, 256])
@pytest.mark.parametrize("fit", get_args(Fit))
def test_sides_that_rounding_puts_outside_the_image_are_decoded(side, size, fit):
    for image_size in ((300, side), (side, 300), (side, side)):
        content = encode(Image.new("RGB", image_size, (10, 120, 240)))
        assert (decode_bytes(content, size, size, 3, fit) == [10, 120, 240]).all()


def test_reducing_a_jpeg_while_decoding_is_close_to_resizing_it_afterwards():
    y, x = np.mgrid[0:800, 0:1000]
    smooth = np.stack([x / 4, y / 4, (x + y) / 8], -1).astype(np.uint8)
    image = Image.fromarray(smooth)
    slow = np.asarray(image.crop((100, 0, 900, 800)).resize((32, 32), Image.Resampling.LANCZOS))
    quick = decode_bytes(encode(image, "JPEG", quality=95), 32, 32)
    assert abs(quick.astype(int) - slow).max() <= 4


def test_grey_images_are_detected():
    grey = np.random.default_rng(0).integers(0, 255, (9, 9, 1), dtype=np.uint8).repeat(3, 2)
    assert is_grey(grey)
    assert is_grey(decode_bytes(encode(Image.fromarray(grey), "JPEG"), 9, 9))
    grey[4, 4] = (100, 110, 100)
    assert not is_grey(grey)


def test_unreadable_images_have_a_reason():
    content = encode(
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8))
    )
    assert unreadable_reason(b"") == "the file is empty"
    assert unreadable_reason(b"these are words, not an image") == "not an image but text"
    assert unreadable_reason(content[: len(content) // 2]) == "truncated"
    assert unreadable_reason(encode(Image.new("RGB", (1, 1)))) == "1 x 1 pixels: too small"
    assert "too small" in unreadable_reason(encode(Image.new("RGB", (900, 1))))


@pytest.mark.parametrize("side", [9_999, 30_000, 2_000_000])
def test_a_huge_image_is_rejected_from_its_header(side):
    content = png_with_false_size(side, side)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.monotonic()
    text = unreadable_reason(content)
    assert "megapixels, more than the limit of 89" in text
    assert f"{side * side / 1e6:,.0f} megapixels" in text
    assert time.monotonic() - start < 1
    # kilobytes; the smallest of the three would take 300,000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


@settings(deadline=None, max_examples=60)
@given(st.integers(8, 400), st.integers(0, 255), st.sampled_from(["PNG", "JPEG", "GIF", "WEBP"]))
def test_a_damaged_file_gives_pixels_or_an_unreadable_image_error(index, value, format_):
    noise = np.random.default_rng(1).integers(0, 255, (16, 16, 3), np.uint8)
    content = bytearray(encode(Image.fromarray(noise), format_))
    content[index % len(content)] = value
    with ignore_pillow_warnings(), contextlib.suppress(UnreadableImage):
        assert decode_bytes(bytes(content), 8, 8).shape == (8, 8, 3)
