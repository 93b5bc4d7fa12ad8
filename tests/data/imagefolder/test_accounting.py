"""Every file of a folder is an image, metadata, a caption file or skipped with a reason."""

from __future__ import annotations

import json
import os
import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pinxit.cli import main
from pinxit.data.load import load_images
from pinxit.data.skipped import SYSTEM_REASON
from pinxit.errors import PinxitError, UsageError
from tests.data.test_decode import encode

PNG = encode(Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3) * 5))

STEMS = [
    "a",
    "A",
    "photo.min",
    "1.5 m",
    "é",
    "e\u0301",
    "名前",
    ".hidden",
    "train",
    "metadata",
    "b c",
]
ENDINGS = [
    *(".png", ".PNG", ".jpg", ".jfif", ".dcm", ".heic", ".jpg_large", ".TXT", ".txt", ".fr.txt"),
    *(".png.txt", ".caption", ".csv", ".jsonl", ".json", ".md", ".mp4", ".zip", "", ".png~", ".db"),
]
FOLDERS = [
    *("", "cats", "dogs", "train", "test_set", "e\u0301té", ".cache", "@eaDir", "$RECYCLE.BIN"),
    *("__MACOSX", "images", "Thumbs.db", "a.png"),
]
SPECIAL = [
    "Thumbs.db",
    ".DS_Store",
    "desktop.ini",
    "._a.png",
    "README.md",
    "LICENSE",
    "config.json",
]
CONTENTS = [
    *(PNG, PNG, PNG, b"", b"words\nand more", b"\xff\xfe\xfa", b'{"file_name": "a.png"}'),
    *(b"file_name,caption\na.png,x\nz.png,y\n", b'{"format": 1, "family": "vae"}', PNG[:30]),
]

names = st.one_of(
    st.builds(str.__add__, st.sampled_from(STEMS), st.sampled_from(ENDINGS)),
    st.sampled_from(SPECIAL),
)
paths = st.builds(
    lambda folders, name: "/".join([*filter(None, folders), name]),
    st.lists(st.sampled_from(FOLDERS), max_size=3),
    names,
)
trees = st.dictionaries(paths, st.sampled_from(CONTENTS), min_size=1, max_size=25)


def write_tree(root: Path, tree: dict[str, bytes]) -> None:
    """Write the files whose path is not taken by a folder or file."""
    for path, content in tree.items():
        try:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(content)
        except OSError:
            continue


def list_files(root: Path) -> set[str]:
    """List all files, each linked folder under the name of the link."""
    return {
        (Path(folder) / name).relative_to(root).as_posix()
        for folder, _, files in os.walk(root, followlinks=True)
        for name in files
    }


def load(root: Path, **options):
    return load_images(str(root), cache=False, progress=False, **options)


@settings(max_examples=40, deadline=None)
@given(trees, st.booleans())
def test_files_are_images_metadata_captions_or_skipped(tree, link):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "data"
        root.mkdir()
        write_tree(root, tree)
        (root / "0.png").write_bytes(PNG)
        if link:
            write_tree(Path(folder) / "other", tree)
            (root / "linked").symlink_to(Path(folder) / "other", target_is_directory=True)
        files = list_files(root)
        images = load(root)
    skipped = [file for file in images.skipped if file.kind == "file"]
    skipped_names = {file.name for file in skipped}
    used = files - skipped_names - set(images.names)
    assert set(images.names) | skipped_names <= files
    assert not set(images.names) & skipped_names
    assert len(skipped_names) == len(skipped)
    counts = images.file_counts
    assert sum(counts.values()) == len(files)
    assert counts["images"] == len(images)
    assert len(used) == counts.get("metadata", 0) + counts.get("captions", 0)
    assert all(file.reason for file in images.skipped)
    lines = [
        match for note in images.notes if (match := re.match(r"([\d,]+) files? not read", note))
    ]
    assert sum(int(line[1]) for line in lines) == len(skipped)


@settings(max_examples=15, deadline=None)
@given(trees)
def test_strict_minds_every_file_that_the_operating_system_did_not_make(tree):
    with tempfile.TemporaryDirectory() as folder:
        write_tree(Path(folder), tree)
        (Path(folder) / "0.png").write_bytes(PNG)
        images = load(Path(folder))
        if any(file.reason != SYSTEM_REASON for file in images.skipped):
            with pytest.raises(PinxitError, match="cannot read"):
                load(Path(folder), strict=True)
        else:
            assert len(load(Path(folder), strict=True)) == len(images)


# -- links -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("links", [{"loop": "loop"}, {"a.png": "b.png", "b.png": "a.png"}])
def test_links_to_themselves_are_skipped(tmp_path, links):
    (tmp_path / "0.png").write_bytes(b"")
    save(tmp_path, "0.png")
    for name, target in links.items():
        (tmp_path / name).symlink_to(target)
    images = load(tmp_path)
    assert list(images.names) == ["0.png"]
    assert {file.name for file in images.skipped} == set(links)


def save(root: Path, *names: str) -> None:
    for i, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng([i, *name.encode()]).integers(0, 255, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).save(root / name)


def test_linked_folders_are_read(tmp_path):
    save(tmp_path / "src", *(f"{c}/{i}.png" for c in ("cats", "dogs") for i in range(3)))
    save(tmp_path / "data", "birds/0.png")
    for name in ("cats", "dogs"):
        (tmp_path / "data" / name).symlink_to(tmp_path / "src" / name)
    images = load(tmp_path / "data")
    assert len(images) == 7
    assert images.label_names == ("birds", "cats", "dogs")
    assert images.skipped == ()
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "cats").symlink_to(tmp_path / "src" / "cats")
    assert len(load(tmp_path / "links")) == 3


def test_loops_and_folders_that_are_linked_twice_are_read_once(tmp_path):
    save(tmp_path, "cats/0.png", "cats/deep/1.png")
    (tmp_path / "cats" / "deep" / "up").symlink_to(tmp_path)
    (tmp_path / "again").symlink_to(tmp_path / "cats")
    images = load(tmp_path)
    assert list(images.names) == ["cats/0.png", "cats/deep/1.png"]
    reason = "a link to a folder that is read already"
    assert images.notes[-1] == f"2 folders not read: again/, cats/deep/up/ ({reason})"


# -- roles -----------------------------------------------------------------------------------------


def test_files_of_other_formats_are_read_or_have_a_reason(tmp_path):
    save(tmp_path, "a.png")
    for name, image_format in {
        "b.jfif": "JPEG",
        "c.ppm": "PPM",
        "d.jpe": "JPEG",
        "e.tga": "TGA",
        "g.apng": "PNG",
        "h.jpg_large": "JPEG",
        "i.jpg.1": "JPEG",
        "j": "WEBP",
    }.items():
        Image.new("RGB", (8, 8), (200, 30, 60)).save(tmp_path / name, image_format)
    (tmp_path / "k.dcm").write_bytes(bytes(128) + b"DICM")
    images = load(tmp_path)
    assert {*"bcdegh"} <= {name[0] for name in images.names}
    reasons = {file.name: file.reason for file in images.skipped}
    assert reasons["i.jpg.1"] == "looks like a JPEG file; rename it to .jpg"
    assert reasons["j"] == "looks like a WebP file; rename it to .webp"
    assert "DICOM" in reasons["k.dcm"] or "DCM" in reasons["k.dcm"]
    with pytest.raises(PinxitError, match=r"cannot read 3 files of .*: i.jpg.1"):
        load(tmp_path, strict=True)


def test_thumbnails_trash_and_files_of_the_operating_system_are_no_images(tmp_path):
    save(tmp_path, "cats/p0.png", "cats/p1.png", "dogs/p0.png")
    save(tmp_path, "@eaDir/p1.png/THUMB.jpg", "$RECYCLE.BIN/$R1.png", "cats/.thumbnails/x.png")
    (tmp_path / "__MACOSX" / "cats").mkdir(parents=True)
    (tmp_path / "__MACOSX" / "cats" / "._p1.png").write_bytes(b"\0\5\x16\7")
    (tmp_path / "cats" / "Thumbs.db").write_bytes(b"x")
    images = load(tmp_path, strict=True)
    assert images.label_names == ("cats", "dogs")
    assert images.file_counts == {"images": 3, "skipped": 5}
    assert {file.reason for file in images.skipped} == {SYSTEM_REASON}
    assert any(".jpg 1" in note and "operating system" in note for note in images.notes)


def test_runs_within_the_data_are_no_data(tmp_path):
    save(tmp_path, "0.png", "1.png", "runs/v1/samples/step-0000100.png")
    (tmp_path / "runs" / "v1" / "config.json").write_text('{"format": 1, "family": "vae"}')
    images = load(tmp_path)
    assert list(images.names) == ["0.png", "1.png"]
    assert {file.reason for file in images.skipped} == {"in a run folder"}
    # but the folder itself may be given
    assert len(load(tmp_path / "runs" / "v1")) == 1


def test_a_contact_sheet_within_the_data_is_no_data(tmp_path, monkeypatch, capsys):
    save(tmp_path, "0.png", "look-at-me.png")
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert main(["look", str(tmp_path), "--out", "look-data.png", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["num_images"] == 2
    assert [file.name for file in load(tmp_path).skipped] == ["look-data.png"]


def test_pipes_are_not_read_and_dangling_links_are_named(tmp_path):
    save(tmp_path, "0.png")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    assert {file.name: file.reason for file in load(tmp_path).skipped} == {
        "gone.png": "cannot be opened: No such file or directory",
        "pipe.png": "not a regular file",
    }


def test_unused_files_do_not_invalidate_the_cache(tmp_path, monkeypatch):
    save(tmp_path / "data", "0.png", "1.png")
    monkeypatch.setenv("PINXIT_CACHE", str(tmp_path / "cache"))
    assert load_images(tmp_path / "data", progress=False).skipped == ()
    (tmp_path / "data" / "Thumbs.db").write_bytes(b"x")
    images = load_images(tmp_path / "data", progress=False)
    assert images.file_counts == {"images": 2, "skipped": 1}
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_an_empty_folder_names_what_it_has(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"no images in .*a.zip \(an archive; unpack it first\)"):
        load(tmp_path)


def test_a_limit_is_part_of_the_account(tmp_path):
    save(tmp_path, *(f"{i}.png" for i in range(9)))
    assert load(tmp_path, limit=4).file_counts == {
        "images": 4,
        "excluded by limit": 5,
        "skipped": 0,
    }


def test_notes_are_printed_from_the_cache_too(tmp_path, monkeypatch, capsys):
    save(tmp_path / "data", "0.png")
    (tmp_path / "data" / "metadata.jsonl").write_text(json.dumps({"file_name": "0.png", "x": 1}))
    monkeypatch.setenv("PINXIT_CACHE", str(tmp_path / "cache"))
    for _ in range(2):
        load_images(tmp_path / "data")
        assert "metadata.jsonl: columns not used: x" in capsys.readouterr().err
