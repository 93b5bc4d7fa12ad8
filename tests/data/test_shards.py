"""Tar shards: every file is used or listed, in any order and wherever the shard is cut."""

from __future__ import annotations

import io
import json
import tarfile
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pinxit.data.images import SPLITS
from pinxit.data.load import load_images
from pinxit.data.shards.rows import RowReader
from pinxit.data.shards.tar_members import TRUNCATED, Member, list_members
from pinxit.data.skipped import SYSTEM_REASON
from pinxit.errors import PinxitError
from tests.data.test_decode import encode


def png(i: int) -> bytes:
    pixels = np.random.default_rng(i).integers(0, 256, (8, 8), np.uint8)
    return encode(Image.fromarray(pixels))


def write_tar(path: Path, files, **options) -> Path:
    with tarfile.open(path, "w", **options) as tar:
        for name, content in files:
            member = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
            else:
                member.type = content[0]
                member.linkname = "a.png"
                tar.addfile(member)
    return path


def load(path: Path, **options):
    return load_images(path, progress=False, cache=False, color="grey", **options)


def report_of(images) -> str:
    return " ".join([*(f"{file.name} {file.reason}" for file in images.skipped), *images.notes])


def captions_of(images) -> dict[str, str]:
    return dict(zip(images.names, images.captions["und"], strict=True))


NAMES = st.sampled_from(["a", "b", "c/a", "c/b", "long" * 40, "x.left", "x.right", "x"])
CONTENTS = {
    ".png": png(0),
    ".JPG": png(1),
    ".txt": b"a caption",
    ".fr.txt": b"un chat",
    ".TXT": b"another",
    ".json": b'{"caption": "words", "url": "u"}',
    ".cls": b"3",
    ".npy": b"numbers",
    ".bad.json": b"{",
    ".dcm": b"scan",
    ".bin.txt": b"\xff\xfe\xfd",
}
FILES = st.lists(st.tuples(NAMES, st.sampled_from(sorted(CONTENTS))), min_size=1, max_size=14)


@settings(max_examples=40, deadline=None)
@given(FILES, st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]), st.data())
def test_every_file_of_a_random_shard_is_used_or_listed(files, kind, data):
    with tempfile.TemporaryDirectory() as folder:
        contents = [(name + suffix, CONTENTS[suffix]) for name, suffix in [("a", ".png"), *files]]
        path = write_tar(Path(folder) / "s.tar", contents, format=kind)
        with tarfile.open(path) as tar:
            members = [(m.name, m.offset, m.offset_data + m.size) for m in tar]
        size = path.stat().st_size
        first_end = members[0][2]
        cut = data.draw(st.none() | st.integers(first_end, members[-1][2] + 511))
        content = path.read_bytes()[:cut]
        path.write_bytes(content)
        images = load(path)

    complete = Counter(name for name, _, end in members if end <= len(content))
    skipped = Counter(
        file.name.removeprefix("s.tar/")
        for file in images.skipped
        if file.name != "s.tar" and file.reason != TRUNCATED
    )
    counts = images.file_counts
    used = counts["images"] + counts.get("metadata", 0) + counts.get("captions", 0)
    assert used + skipped.total() == complete.total()
    assert skipped <= complete
    if cut is not None and size - cut > 0:
        assert "truncated" in report_of(images)


@pytest.mark.parametrize(
    "order",
    [
        ["0.png", "1.png", "2.png", "0.txt", "1.txt", "2.txt"],
        ["2.txt", "0.txt", "1.txt", "2.png", "0.png", "1.png"],
        ["0.txt", "1.png", "2.txt", "1.txt", "2.png", "0.png"],
    ],
)
def test_captions_may_stand_anywhere_in_the_shard(tmp_path, order):
    files = [(name, png(int(name[0])) if "png" in name else name.encode()) for name in order]
    images = load(write_tar(tmp_path / "s.tar", files))
    assert captions_of(images) == {f"s/{i}": f"{i}.txt" for i in range(3)}
    assert report_of(images) == ""


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("a.png:0 a.txt:one a.png:1 a.txt:two", ["one", "two"]),
        ("a.png:0 a.png:1 a.txt:one a.txt:two", ["one", "two"]),
        ("a.png:0 a.png:1 a.txt:two", ["", "two"]),
        ("a.txt:one a.png:0 a.txt:two a.png:1", ["one", "two"]),
    ],
)
def test_repeated_keys_are_several_samples(tmp_path, order, expected):
    files = [file.split(":") for file in order.split()]
    contents = [(n, png(int(c)) if n == "a.png" else c.encode()) for n, c in files]
    images = load(write_tar(tmp_path / "s.tar", contents))
    assert list(images.names) == ["s/a", "s/a#2"]
    assert [image.tobytes() for image in images.pixels] == [
        np.random.default_rng(i).integers(0, 256, (8, 8), np.uint8).tobytes() for i in (0, 1)
    ]
    assert list(images.captions["und"]) == expected


def test_archives_that_were_joined_are_read_to_their_end(tmp_path):
    parts = [write_tar(tmp_path / f"{i}.tar", [(f"{i}.png", png(i))]) for i in range(3)]
    (tmp_path / "all.tar").write_bytes(b"".join(part.read_bytes() for part in parts))
    images = load(tmp_path / "all.tar")
    assert list(images.names) == ["all/0", "all/1", "all/2"]
    assert report_of(images) == ""


def test_several_images_of_a_sample_are_all_read_and_stay_in_one_split(tmp_path):
    files = [
        ("a.left.png", png(0)),
        ("a.right.png", png(1)),
        ("a.txt", b"both"),
        ("a.left.txt", b"left"),
        ("a.fr.txt", b"les deux"),
        ("b.png", png(2)),
    ]
    images = load(write_tar(tmp_path / "s.tar", files))
    assert list(images.names) == ["s/a.left.png", "s/a.right.png", "s/b"]
    assert images.captions["und"][0] == "both"
    assert images.more_captions["und"][0] == ("left",)
    assert images.captions["und"][1:] == ["both", ""]
    assert images.captions["fr"] == ["les deux", "les deux", ""]
    assert images.groups.tolist() == [0, 0, 1]


def test_numbered_frames_of_one_name_are_no_sample(tmp_path):
    frames = [(f"frame.{i:04d}.png", png(i)) for i in range(20)]
    images = load(write_tar(tmp_path / "s.tar", [*frames, ("frame.0003.txt", b"third")]))
    assert images.groups is None
    assert set(images.splits.tolist()) == {0, 1, 2}
    assert images.captions["und"].index("third") == 3
    assert sum(map(bool, images.captions["und"])) == 1


def test_links_hidden_files_and_devices_are_read_or_listed(tmp_path):
    files = [
        ("a.png", png(0)),
        ("b.png", [tarfile.SYMTYPE]),
        ("c.png", [tarfile.LNKTYPE]),
        ("folder", [tarfile.DIRTYPE]),
        ("pipe.png", [tarfile.FIFOTYPE]),
        (".hidden.png", png(1)),
        ("._a.png", b"of a Mac"),
        ("deep/d.png", [tarfile.SYMTYPE]),
    ]
    images = load(write_tar(tmp_path / "s.tar", files))
    assert list(images.names) == ["s/a", "s/b", "s/c"]
    assert {file.name: file.reason for file in images.skipped} == {
        "s.tar/pipe.png": "not a regular file",
        "s.tar/.hidden.png": "hidden: a name begins with a dot",
        "s.tar/._a.png": SYSTEM_REASON,
        "s.tar/deep/d.png": "a link to a file that is not in front of it in the shard",
    }


def test_a_damaged_header_loses_one_file_and_is_said(tmp_path):
    path = write_tar(tmp_path / "s.tar", [(f"{i}.png", png(i)) for i in range(5)])
    content = bytearray(path.read_bytes())
    with tarfile.open(path) as tar:
        offset = tar.getmembers()[2].offset
    content[offset : offset + 100] = bytes(range(100, 200))
    path.write_bytes(content)
    images = load(path)
    assert list(images.names) == ["s/0", "s/1", "s/3", "s/4"]
    assert "damaged: files may be missing" in report_of(images)
    with pytest.raises(PinxitError, match="damaged"):
        load(path, strict=True)


def test_one_bad_shard_of_several_is_skipped_with_its_reason(tmp_path):
    write_tar(tmp_path / "a.tar", [("0.png", png(0))])
    (tmp_path / "b.tar").write_bytes(b"")
    (tmp_path / "c.tar").write_bytes(b"no archive" * 200)
    (tmp_path / "d.tar").write_bytes(b"\x1f\x8b" + bytes(600))
    (tmp_path / "e.tar.gz").write_bytes(b"\x1f\x8b" + bytes(600))
    (tmp_path / "README.md").write_text("about")
    images = load(tmp_path)
    assert len(images) == 1
    reasons = {file.name: file.reason for file in images.skipped}
    assert reasons["b.tar"] == "the file is empty"
    assert reasons["c.tar"] == "not a tar file, or a damaged one"
    assert reasons["d.tar"] == "a compressed file, whatever its name says; run gunzip first"
    assert set(reasons) == {"b.tar", "c.tar", "d.tar", "e.tar.gz", "README.md"}


def test_splits_are_read_from_names_and_folders_of_shards_and_in_them(tmp_path):
    (tmp_path / "x").mkdir()
    write_tar(tmp_path / "x" / "set-train-0.tar", [(f"{i}.png", png(i)) for i in range(8)])
    write_tar(tmp_path / "x" / "set-test-0.tar", [(f"{i}.png", png(20 + i)) for i in range(3)])
    images = load(tmp_path / "x")
    assert (images.splits[:3] == SPLITS.index("test")).all()
    (tmp_path / "y" / "test").mkdir(parents=True)
    write_tar(tmp_path / "y" / "test" / "0.tar", [("0.png", png(50))])
    write_tar(tmp_path / "y" / "0.tar", [(f"{i}.png", png(60 + i)) for i in range(5)])
    images = load(tmp_path / "y")
    assert SPLITS[images.splits[list(images.names).index("test/0/0")]] == "test"
    files = [
        (f"{part}/{c}/{i}.png", png(70 + i))
        for i, part in enumerate(("train", "test"))
        for c in "ab"
    ]
    images = load(write_tar(tmp_path / "tree.tar", files))
    assert images.label_names == ("a", "b")
    assert {n for n, s in zip(images.names, images.splits, strict=True) if SPLITS[s] == "test"} == {
        "tree/test/a/1",
        "tree/test/b/1",
    }
    write_tar(tmp_path / "my-test-tubes.tar", [("0.png", png(0))])
    assert "its name contains 'test'" in report_of(load(tmp_path / "my-test-tubes.tar"))


def test_json_columns_that_are_not_used_are_named(tmp_path):
    row = {"caption": "words", "Label": "7", "url": "u", "width": 3, "split": "fold1"}
    images = load(
        write_tar(tmp_path / "s.tar", [("a.png", png(0)), ("a.json", json.dumps(row).encode())])
    )
    assert "columns not used: url, width" in report_of(images)
    assert "1 row: the split is none of train, validation and test: 'fold1'" in report_of(images)
    assert images.label_names[images.labels[0]] == "7"
    assert captions_of(images) == {"s/a": "words"}


def test_members_of_a_large_name_have_their_bytes(tmp_path):
    name = "folder/" * 30 + "a.png"
    for kind in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        path = write_tar(tmp_path / "s.tar", [(name, png(3))], format=kind)
        (member,) = list_members(path)
        assert isinstance(member, Member)
        assert member.name == name
        assert member.read() == png(3)


def test_rows_say_what_of_them_is_not_used():
    rows = RowReader("auto")
    rows.set_class_column("", ("cat", "dog"))
    assert rows.select_columns(["label", "category", "caption", "score", "base", "group"]) == [
        "label",
        "caption",
        "base",
    ]
    assert rows.read({"label": 1, "caption": "x"})["label"] == "dog"
    assert rows.read({"label": 1.0})["label_index"] == 1
    assert rows.read({"label": float("nan")})["label_index"] is None
    assert rows.read({"label": [0]})["label"] == "cat"
    assert rows.read({"label": [0, 1], "split": "dev"})["split"] == "validation"
    assert rows.read({"caption": b"bytes"})["captions"] == {}
    assert rows.read({"caption": [{"text": "words"}]})["captions"] == {}
    assert [(note.text, note.is_loss) for note in rows.list_notes()] == [
        ("columns not used: category, score, group", False),
        ("1 row: `label` has several values instead of one", True),
        ("2 rows: `caption` has values that are not text", True),
    ]
