"""Bad input: files that cannot be read are skipped with a reason, other errors are clear."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pinxit.data.load import load_images
from pinxit.data.sources import open_source
from pinxit.errors import PinxitError, UsageError
from tests.data.test_decode import encode, png_with_false_size


def noise(seed: int = 0, size: int = 16) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (size, size, 3), np.uint8))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three good images; a test adds bad files."""
    root = tmp_path / "photos"
    root.mkdir()
    for i in range(3):
        noise(i).save(root / f"good {i} é.png")
    return root


def load(folder: Path, **options):
    return load_images(str(folder), progress=False, **options)


def skip_reasons(folder: Path, **options) -> dict[str, str]:
    images = load(folder, **options)
    assert len(images) == 3
    assert [name for name in images.names if "good" in name] == list(images.names)
    return {file.name: file.reason for file in images.skipped}


BAD = {
    "half.png": (encode(noise())[:300], "truncated"),
    "nothing.png": (b"", "the file is empty"),
    "words.jpg": (b"words, and nothing but words", "not an image but text"),
    "dot.png": (encode(Image.new("RGB", (1, 1))), "1 x 1 pixels: too small"),
    "vast.png": (
        png_with_false_size(30_000, 30_000),
        "900 megapixels, more than the limit of 89",
    ),
    "phone.jxl": (b"whatever", "JXL is not supported; convert it to PNG or JPEG"),
}


def test_bad_files_are_skipped_with_a_reason_and_the_others_load(folder):
    for name, (content, _) in BAD.items():
        (folder / name).write_bytes(content)
    assert skip_reasons(folder) == {name: reason for name, (_, reason) in BAD.items()}
    # the second time from the cache
    assert skip_reasons(folder) == {name: reason for name, (_, reason) in BAD.items()}


@pytest.mark.parametrize("name", BAD)
def test_with_strict_a_bad_file_is_an_error(folder, name):
    (folder / name).write_bytes(BAD[name][0])
    with pytest.raises(PinxitError, match=f"cannot read 1 file of .*: {name}"):
        load(folder, strict=True)


def test_images_of_unusual_modes_are_converted(folder):
    for seed, (name, image, save_options) in enumerate(
        [
            ("ink.jpg", noise(9).convert("CMYK"), {}),
            ("deep.png", Image.fromarray(np.full((16, 16), 40_000, np.uint16)), {}),
            ("clear.png", noise(8).convert("RGBA"), {}),
            ("index.png", noise(7).convert("P"), {"transparency": 0}),
            ("moving.gif", noise(6), {"save_all": True, "append_images": [noise(5)]}),
        ]
    ):
        image.save(folder / name, **save_options)
        images = load(folder)
        assert len(images) == 4 + seed
        assert name in images.names
        assert images.skipped == ()


def test_files_that_cannot_be_opened_are_skipped(folder, monkeypatch):
    noise(4).save(folder / "locked.png")
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    read = Path.read_bytes

    def read_unless_locked(path: Path) -> bytes:
        if path.name == "locked.png":
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", read_unless_locked)
    assert skip_reasons(folder) == {
        "gone.png": "cannot be opened: No such file or directory",
        "locked.png": "cannot be opened: Permission denied",
    }


def test_a_folder_without_images_is_an_error(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing here")
    with pytest.raises(UsageError, match=r"no images in .* \(\.png"):
        load(tmp_path)


def test_a_folder_with_only_bad_images_is_an_error(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "b.png").write_bytes(b"words")
    with pytest.raises(PinxitError, match=r"no image of .* can be read: a.png \(the file is"):
        load(tmp_path)
    with pytest.raises(PinxitError, match=r"no image of .* can be read"):
        load(tmp_path, size=8, color="rgb")


def test_captions_of_missing_images_are_skipped(folder):
    (folder / "metadata.jsonl").write_text(
        '{"file_name": "good 0 é.png", "caption": "a cat"}\n'
        '{"file_name": "lost.png", "caption": "a dog"}\n'
        "not json\n"
        '{"caption": "of nothing"}\n'
    )
    (folder / "ghost.txt").write_text("a ghost")
    assert skip_reasons(folder) == {
        "metadata.jsonl, record 2 (lost.png)": "in the metadata, but the image does not exist",
        "metadata.jsonl, record 3": "not valid JSON",
        "metadata.jsonl, record 4": "not a record with a file_name",
        "ghost.txt": "a caption without an image",
    }
    assert load(folder).captions == {"und": ["a cat", "", ""]}


def test_captions_that_are_not_utf8_are_skipped(folder):
    (folder / "good 1 é.txt").write_bytes(b"\xff\xfe\xfa")
    assert skip_reasons(folder) == {"good 1 é.txt": "the caption is not UTF-8 text"}


def idx_bytes(count: int, side: int, content: bytes, magic: bytes = b"\0\0\x08\x03") -> bytes:
    return magic + struct.pack(">III", count, side, side) + content


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (idx_bytes(5, 4, bytes(4 * 16)), "its header says 5 x 4 x 4 bytes, but 64 follow"),
        (idx_bytes(3, 4, bytes(4 * 16)), "its header says 3 x 4 x 4 bytes, but 64 follow"),
        (idx_bytes(2**32 - 1, 2**31, bytes(16)), "bytes, but 16 follow"),
        (idx_bytes(0, 4, b""), "its header says 0 x 4 x 4 bytes"),
        (idx_bytes(4, 4, bytes(64), b"\0\0\x0d\x03"), "type 13 with 3 dimensions"),
        (idx_bytes(4, 4, bytes(64), b"\0\0\x08\x01"), "type 8 with 1 dimensions"),
        (idx_bytes(4, 4, bytes(64), b"PK\x08\x03"), "is not an IDX file"),
        (b"\0\0", "is not an IDX file"),
    ],
    ids=["short", "long", "huge", "empty", "type", "dimensions", "magic", "cut"],
)
def test_an_idx_file_that_contradicts_its_header_is_an_error(tmp_path, content, text):
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(content))
    with pytest.raises(PinxitError, match=text):
        load(tmp_path)


def test_a_truncated_idx_file_and_labels_of_another_number_are_errors(tmp_path):
    file = tmp_path / "train-images-idx3-ubyte.gz"
    content = gzip.compress(idx_bytes(4, 4, np.random.default_rng(0).bytes(64)))
    file.write_bytes(content[:40])
    with pytest.raises(PinxitError, match="is truncated or damaged; download it again"):
        load(tmp_path)
    file.write_bytes(content)
    labels = b"\0\0\x08\x01" + struct.pack(">I", 3) + bytes(3)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(labels)
    with pytest.raises(PinxitError, match=r"has 3 labels, but .* has 4 images"):
        load(tmp_path)


def test_a_parquet_file_without_images_is_an_error(tmp_path):
    file = tmp_path / "table.parquet"
    pq.write_table(pa.table({"name": ["a"], "label": [1]}), file)
    with pytest.raises(PinxitError, match=r"has no column `image` .* it has: name, label"):
        load(file)
    file.write_bytes(b"PAR1, it says")
    with pytest.raises(PinxitError, match=r"table.parquet cannot be read"):
        load(file)


def test_a_parquet_row_cannot_read_a_file_outside_its_folder(tmp_path):
    noise().save(tmp_path / "secret.png")
    folder = tmp_path / "set"
    folder.mkdir()
    noise(1).save(folder / "own.png")
    image = pa.array(
        [{"bytes": None, "path": p} for p in ("own.png", "../secret.png")]
        + [{"bytes": None, "path": None}],
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    )
    pq.write_table(pa.table({"image": image}), folder / "x.parquet")
    images = load(folder / "x.parquet")
    assert list(images.names) == ["own.png"]
    assert [file.reason for file in images.skipped] == [
        "names a file outside the folder of the Parquet file",
        "row 3 has no image",
    ]


def test_arrays_that_are_not_images_are_errors(tmp_path):
    file = tmp_path / "a.npz"
    for arrays, text in [
        ({"faces": np.zeros((2, 4, 4), np.uint8)}, "has no array `images`; it has: faces"),
        ({"images": np.zeros((2, 4))}, r"not \[2, 4\]"),
        ({"images": np.full((2, 4, 4), "x")}, "images must be numbers, not <U1"),
        ({"images": np.full((2, 4, 4), np.nan)}, "its values are not finite numbers"),
        (
            {"images": np.zeros((2, 4, 4), np.uint8), "labels": [1, 2, 3]},
            r"shape \[3\], but there are 2 images",
        ),
        ({"images": np.array([{"a": 1}], object)}, "contains Python objects"),
    ]:
        np.savez(file, **arrays, allow_pickle=True)
        with pytest.raises(PinxitError, match=text):
            load(file)
    file.write_bytes(b"PK and no more")
    with pytest.raises(PinxitError, match=r"a.npz cannot be read"):
        load(file)


def test_an_unknown_source_suggests_the_closest_name():
    with pytest.raises(UsageError, match=r"no source 'mnits'.* Did you mean 'mnist'\? See: pinxit"):
        open_source("mnits")
    with pytest.raises(
        UsageError, match=r"no source 'qqqq': there is no such file or folder, and no source"
    ):
        open_source("qqqq")


def test_a_file_of_an_unknown_type_is_an_error(tmp_path):
    file = tmp_path / "film.xyz"
    file.write_bytes(b"0")
    with pytest.raises(UsageError, match=r"is not an image and contains none that pinxit reads"):
        open_source(file)


@pytest.mark.parametrize("name", ["a.jxl", "IMG_1.CR3", "b.DCM", "c.svg"])
def test_a_file_of_an_unsupported_format_has_the_reason_that_a_folder_reports(tmp_path, name):
    (tmp_path / name).write_bytes(b"0")
    reason = "is not supported; (develop|convert|export)"
    with pytest.raises(UsageError, match=f"{name}: .* {reason}"):
        open_source(tmp_path / name)
    with pytest.raises(UsageError, match=f"{name}: .* {reason}"):
        open_source([tmp_path / name, tmp_path / name])
    with pytest.raises(PinxitError, match=reason):
        load(tmp_path)


def test_several_names_of_sources_are_an_error():
    for data in (["digits", "mnist"], ["digits", "photo.png"]):
        with pytest.raises(
            UsageError, match=r"digits is not an image file.*DATA is one source, or"
        ):
            open_source(data)


def test_skipped_files_are_counted_among_the_files_or_in_the_folder(tmp_path, folder, capsys):
    (tmp_path / "bad.png").write_bytes(b"")
    image_file = next(folder.glob("*.png"))
    load_images([tmp_path / "bad.png", image_file])
    bad = f"{tmp_path.as_posix()}/bad.png (the file is empty)"
    assert f"2 files: 1 file not read: {bad}" in capsys.readouterr().err
    (folder / "bad.png").write_bytes(b"")
    load_images(folder)
    assert f"{folder}: 1 file not read: bad.png (the file is empty)" in capsys.readouterr().err


def test_several_files_must_be_existing_images(tmp_path, folder):
    image_file = next(folder.iterdir())
    with pytest.raises(UsageError, match=r"absent.png does not exist"):
        load_images([image_file, tmp_path / "absent.png"])
    with pytest.raises(UsageError, match=r"is a folder; a folder must be the only DATA"):
        load_images([image_file, folder])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"size": "big"}, "a size is '64'"),
        ({"size": 0}, r"must be 4 to 4,096 pixels, not 0\."),
        ({"size": "8x99999"}, "must be 4 to 4,096"),
        ({"fit": "stretch"}, "fit is 'crop' or 'pad'"),
        ({"color": "sepia"}, "color is 'auto', 'grey' or 'rgb'"),
        ({"limit": 0}, "1 or more, not 0"),
    ],
)
def test_invalid_options_are_errors(folder, options, text):
    with pytest.raises(UsageError, match=text):
        load(folder, **options)


def test_a_source_that_is_too_large_suggests_smaller_options(folder, monkeypatch):
    monkeypatch.setattr("pinxit.data.shape_choice.MAX_BYTES", 1_000)
    with pytest.raises(PinxitError, match=r"Use a smaller --size or a --limit"):
        load(folder, cache=False)
