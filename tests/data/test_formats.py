"""Which files are read: what Pillow reads, by any of its suffixes; the others have a reason."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from pinxit.data.decoding import opening, signatures
from pinxit.data.formats import FORMATS, SUFFIXES, describe_unsupported
from pinxit.data.load import load_images
from pinxit.errors import PinxitError
from tests.data.test_decode import decode_bytes, encode

# the module says why
EXCLUDED = {"EPS", "WMF", "PSD", "FITS", "GRIB", "BUFR", "HDF5", "MPEG", "IPTC"}
WRITABLE = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF", "JPEG2000", "PPM", "ICO", "ICNS")
WRITABLE += ("DDS", "PCX", "SGI", "TGA", "IM", "QOI", "DIB")
BY_SUFFIX = {".jfif": "JPEG", ".jpe": "JPEG", ".jpg_large": "JPEG", ".ppm": "PPM", ".pgm": "PPM"}
BY_SUFFIX |= {".pnm": "PPM", ".tga": "TGA", ".jp2": "JPEG2000", ".j2k": "JPEG2000", ".apng": "PNG"}
BY_SUFFIX |= {".avif": "AVIF", ".ico": "ICO", ".PNG": "PNG", ".JFIF": "JPEG"}


def test_every_suffix_that_pillow_knows_is_read_or_has_a_reason():
    Image.init()
    for suffix, format_ in Image.registered_extensions().items():
        if format_ in EXCLUDED - {"IPTC"}:
            assert describe_unsupported(f"a{suffix}"), suffix
        elif format_ in Image.OPEN and format_ != "IPTC":
            assert suffix in SUFFIXES, suffix
            assert format_ in (*FORMATS, "MPO"), format_  # opened as JPEG


@pytest.mark.parametrize("format_", WRITABLE)
def test_every_format_that_pillow_reads_is_decoded(format_):
    if format_ not in Image.SAVE:
        pytest.skip(f"this Pillow cannot write {format_}")
    flat = Image.new("RGB", (32, 32), (200, 40, 90))
    decoded = decode_bytes(encode(flat, format_), 32, 32)
    assert abs(decoded.astype(int) - [200, 40, 90]).max() <= 6


def test_files_of_every_suffix_are_read_from_a_folder(tmp_path):
    for i, (suffix, format_) in enumerate(BY_SUFFIX.items()):
        image = Image.new("L" if suffix == ".pgm" else "RGB", (16, 16), 9 * i)
        (tmp_path / f"{i:02d}{suffix}").write_bytes(encode(image, format_))
    images = load_images(str(tmp_path), progress=False)
    assert images.skipped == ()
    assert len(images) == len(BY_SUFFIX)
    assert abs(images.pixels[:, 8, 8, 0] - 9.0 * np.arange(len(images))).max() <= 3


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("scan.DCM", r"DCM \(a medical image\) is not supported; convert it to 16-bit PNG or TIFF"),
        ("brain.nii.gz", r"NII.GZ \(a medical volume\) is not supported; save its slices"),
        ("a.svg", r"SVG \(a vector drawing\) is not supported; export it as PNG"),
        ("a.CR3", r"CR3 \(a raw camera file\) is not supported; develop it"),
        ("a.jxl", "JXL is not supported; convert it to PNG or JPEG"),
        ("a.psd", r"PSD \(a file of layers\) is not supported; export it as PNG"),
        ("a.mp4", r"MP4 \(a video\) is not supported; save its frames"),
    ],
)
def test_a_format_that_is_not_read_says_what_to_do(tmp_path, name, text):
    (tmp_path / name).write_bytes(b"0")
    with pytest.raises(PinxitError, match=text):
        load_images(str(tmp_path), progress=False)
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    assert [file.name for file in load_images(str(tmp_path), progress=False).skipped] == [name]


def test_heic_is_read_with_its_extra(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif", reason="the extra heic is not installed")
    for name in ("IMG_1.HEIC", "IMG_2.jpg"):
        flat = Image.new("RGB", (32, 32), (200, 40, 90))
        pillow_heif.from_pillow(flat).save(tmp_path / "a.heic")
        (tmp_path / "a.heic").rename(tmp_path / name)
    images = load_images(str(tmp_path), progress=False)
    assert list(images.names) == ["IMG_1.HEIC", "IMG_2.jpg"]
    assert abs(images.pixels.astype(int) - [200, 40, 90]).max() <= 6


def test_heic_names_the_extra_where_it_is_not_installed(tmp_path, monkeypatch):
    for module in (signatures, opening):
        monkeypatch.setattr(module, "CAN_READ_HEIF", False)
    content = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(400)
    for name in ("IMG_1.HEIC", "IMG_2.jpg"):
        (tmp_path / name).write_bytes(content)
    jpeg = encode(Image.new("RGB", (8, 8)), "JPEG")
    (tmp_path / "named wrongly.heic").write_bytes(jpeg)
    images = load_images(str(tmp_path), progress=False)
    assert list(images.names) == ["named wrongly.heic"]
    for file in images.skipped:
        assert file.reason.startswith("HEIC is not supported; install pinxit with the extra")
        assert "pip install 'pinxit[heic]'" in file.reason
