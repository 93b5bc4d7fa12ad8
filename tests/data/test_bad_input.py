"""Bad input: each with a clear line, and nothing lost."""

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
from tests.data.test_decode import encoded, forged_png


def noise(seed: int = 0, size: int = 16) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (size, size, 3), np.uint8))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three good images, to which a test adds what is bad."""
    root = tmp_path / "photos"
    root.mkdir()
    for i in range(3):
        noise(i).save(root / f"good {i} é.png")
    return root


def load(folder: Path, **settings):
    return load_images(str(folder), progress=False, **settings)


def reasons(folder: Path, **settings) -> dict[str, str]:
    images = load(folder, **settings)
    assert len(images) == 3
    assert [name for name in images.names if "good" in name] == list(images.names)
    return {left.name: left.reason for left in images.skipped}


BAD = {
    "half.png": (encoded(noise())[:300], "truncated"),
    "nothing.png": (b"", "the file is empty"),
    "words.jpg": (b"words, and nothing but words", "not an image, whatever its name says"),
    "dot.png": (encoded(Image.new("RGB", (1, 1))), "1 x 1 pixels: too small"),
    "vast.png": (
        forged_png(30_000, 30_000),
        "900 megapixels, more than the 89 that are decoded",
    ),
    "phone.heic": (b"whatever", "HEIC is not supported; convert it to PNG or JPEG"),
}


def test_each_bad_file_is_named_with_its_reason_and_the_others_load(folder):
    for name, (content, _) in BAD.items():
        (folder / name).write_bytes(content)
    assert reasons(folder) == {name: reason for name, (_, reason) in BAD.items()}
    # and once more, from the cache
    assert reasons(folder) == {name: reason for name, (_, reason) in BAD.items()}


@pytest.mark.parametrize("name", BAD)
def test_strict_makes_it_an_error(folder, name):
    (folder / name).write_bytes(BAD[name][0])
    with pytest.raises(PinxitError, match=f"1 image of .* left out: {name}"):
        load(folder, strict=True)


def test_what_can_be_converted_is_not_left_out(folder):
    for seed, (name, image, options) in enumerate(
        [
            ("ink.jpg", noise(9).convert("CMYK"), {}),
            ("deep.png", Image.fromarray(np.full((16, 16), 40_000, np.uint16)), {}),
            ("clear.png", noise(8).convert("RGBA"), {}),
            ("index.png", noise(7).convert("P"), {"transparency": 0}),
            ("moving.gif", noise(6), {"save_all": True, "append_images": [noise(5)]}),
        ]
    ):
        image.save(folder / name, **options)
        images = load(folder)
        assert len(images) == 4 + seed
        assert name in images.names
        assert images.skipped == ()


def test_a_file_that_cannot_be_opened(folder, monkeypatch):
    noise(4).save(folder / "locked.png")
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    read = Path.read_bytes

    def guarded(path: Path) -> bytes:
        if path.name == "locked.png":
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", guarded)
    assert reasons(folder) == {
        "gone.png": "cannot be opened: No such file or directory",
        "locked.png": "cannot be opened: Permission denied",
    }


def test_a_folder_with_no_image(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing here")
    with pytest.raises(UsageError, match=r"no images in .* \(\.png"):
        load(tmp_path)


def test_a_folder_with_only_bad_images(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "b.png").write_bytes(b"words")
    with pytest.raises(PinxitError, match=r"no image of .* can be read: a.png \(the file is"):
        load(tmp_path)
    with pytest.raises(PinxitError, match=r"no image of .* can be read"):
        load(tmp_path, size=8, color="rgb")


def test_captions_for_files_that_are_not_there(folder):
    (folder / "metadata.jsonl").write_text(
        '{"file_name": "good 0 é.png", "caption": "a cat"}\n'
        '{"file_name": "lost.png", "caption": "a dog"}\n'
        "not json\n"
        '{"caption": "of nothing"}\n'
    )
    (folder / "ghost.txt").write_text("a ghost")
    assert reasons(folder) == {
        "lost.png": "in the metadata, but the image does not exist",
        "metadata.jsonl, record 3": "not a record with a file_name",
        "metadata.jsonl, record 4": "not a record with a file_name",
        "ghost.txt": "a caption without an image",
    }
    assert load(folder).captions == {"und": ["a cat", "", ""]}


def test_captions_that_are_no_text(folder):
    (folder / "good 1 é.txt").write_bytes(b"\xff\xfe\xfa")
    assert reasons(folder) == {"good 1 é.txt": "the caption is not UTF-8 text"}


def idx(count: int, side: int, content: bytes, magic: bytes = b"\0\0\x08\x03") -> bytes:
    return magic + struct.pack(">III", count, side, side) + content


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (idx(5, 4, bytes(4 * 16)), "its header says 5 x 4 x 4 bytes, but 64 follow"),
        (idx(3, 4, bytes(4 * 16)), "its header says 3 x 4 x 4 bytes, but 64 follow"),
        (idx(2**32 - 1, 2**31, bytes(16)), "bytes, but 16 follow"),
        (idx(0, 4, b""), "its header says 0 x 4 x 4 bytes"),
        (idx(4, 4, bytes(64), b"\0\0\x0d\x03"), "type 13 with 3 dimensions"),
        (idx(4, 4, bytes(64), b"\0\0\x08\x01"), "type 8 with 1 dimensions"),
        (idx(4, 4, bytes(64), b"PK\x08\x03"), "is not an IDX file"),
        (b"\0\0", "is not an IDX file"),
    ],
    ids=["short", "long", "huge", "empty", "type", "dimensions", "magic", "cut"],
)
def test_an_idx_file_whose_header_lies(tmp_path, content, text):
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(content))
    with pytest.raises(PinxitError, match=text):
        load(tmp_path)


def test_an_idx_file_that_is_cut_off_and_labels_that_do_not_fit(tmp_path):
    file = tmp_path / "train-images-idx3-ubyte.gz"
    whole = gzip.compress(idx(4, 4, np.random.default_rng(0).bytes(64)))
    file.write_bytes(whole[:40])
    with pytest.raises(PinxitError, match="is truncated or damaged; download it again"):
        load(tmp_path)
    file.write_bytes(whole)
    labels = b"\0\0\x08\x01" + struct.pack(">I", 3) + bytes(3)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(labels)
    with pytest.raises(PinxitError, match=r"has 3 labels, but .* has 4 images"):
        load(tmp_path)


def test_a_parquet_without_images(tmp_path):
    file = tmp_path / "table.parquet"
    pq.write_table(pa.table({"name": ["a"], "label": [1]}), file)
    with pytest.raises(PinxitError, match=r"has no column `image` .* it has: name, label"):
        load(file)
    file.write_bytes(b"PAR1, it says")
    with pytest.raises(PinxitError, match=r"table.parquet cannot be read"):
        load(file)


def test_a_parquet_row_that_names_a_file_elsewhere_is_not_followed(tmp_path):
    noise().save(tmp_path / "secret.png")
    inside = tmp_path / "set"
    inside.mkdir()
    noise(1).save(inside / "own.png")
    image = pa.array(
        [{"bytes": None, "path": p} for p in ("own.png", "../secret.png")]
        + [{"bytes": None, "path": None}],
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    )
    pq.write_table(pa.table({"image": image}), inside / "x.parquet")
    images = load(inside / "x.parquet")
    assert list(images.names) == ["own.png"]
    assert [left.reason for left in images.skipped] == [
        "names a file outside the folder of the Parquet file",
        "the row has no image",
    ]


def test_arrays_that_are_no_images(tmp_path):
    file = tmp_path / "a.npz"
    for arrays, text in [
        ({"faces": np.zeros((2, 4, 4), np.uint8)}, "has no array `images`; it has: faces"),
        ({"images": np.zeros((2, 4))}, r"not \[2, 4\]"),
        ({"images": np.full((2, 4, 4), 900.0)}, "these are 900 to 900"),
        ({"images": np.full((2, 4, 4), np.nan)}, "these are nan"),
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


def test_an_unknown_name_suggests_the_near_one():
    with pytest.raises(UsageError, match=r"no source 'mnits'.* Did you mean 'mnist'\? See: pinxit"):
        open_source("mnits")
    with pytest.raises(
        UsageError, match=r"no source 'qqqq': there is no such file or folder, and no source"
    ):
        open_source("qqqq")


def test_a_file_of_no_known_kind(tmp_path):
    file = tmp_path / "film.mp4"
    file.write_bytes(b"0")
    with pytest.raises(UsageError, match=r"is not an image and contains none that pinxit reads"):
        open_source(file)


def test_several_files_must_be_there_and_be_images(tmp_path, folder):
    good = next(folder.iterdir())
    with pytest.raises(UsageError, match=r"absent.png does not exist"):
        load_images([good, tmp_path / "absent.png"])
    with pytest.raises(UsageError, match=r"is a folder; a folder must be the only DATA"):
        load_images([good, folder])


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"size": "big"}, "a size is '64'"),
        ({"size": 0}, "sides of 4 to 4,096 pixels, not 0 x 0"),
        ({"size": "8x99999"}, "sides of 4 to 4,096"),
        ({"fit": "stretch"}, "fit is 'crop' or 'pad'"),
        ({"color": "sepia"}, "color is 'auto', 'grey' or 'rgb'"),
        ({"limit": 0}, "1 or more, not 0"),
    ],
)
def test_settings_that_mean_nothing(folder, settings, text):
    with pytest.raises(UsageError, match=text):
        load(folder, **settings)


def test_more_than_is_kept_names_the_ways_out(folder, monkeypatch):
    monkeypatch.setattr("pinxit.data.load.MAX_BYTES", 1_000)
    with pytest.raises(PinxitError, match=r"A smaller --size or a --limit takes less"):
        load(folder)
