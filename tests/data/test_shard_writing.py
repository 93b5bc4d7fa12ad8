"""`shard`: what is written is what is read again, after an interrupt at any shard too."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import tarfile
import tempfile
import zlib
from pathlib import Path, PureWindowsPath

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import pinxit
from pinxit.cli import main
from pinxit.data.load import load_images
from pinxit.data.records import Record
from pinxit.data.shards import write
from pinxit.data.shards.manifest import LOCK, MANIFEST, parse_manifest, read_manifest
from pinxit.data.shards.sample_files import sample_files
from pinxit.data.shards.write import shard
from pinxit.data.sources.webdataset import _list_records as read_shards
from pinxit.data.unicode_forms import normalize_text
from pinxit.errors import PinxitError, UsageError
from tests.data.test_decode import encode
from tests.data.test_shards import png


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PINXIT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def photos(tmp_path) -> Path:
    """Twelve images with labels and captions; the same image file for each row of the table."""
    folder = tmp_path / "photos"
    rows = []
    for i in range(12):
        name = f"{'cat' if i % 3 else 'dog'}/{i}.png"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png(i))
        rows.append({"file_name": name, "caption": f"image {i}", "caption_fr": f"l'image {i}"})
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.glob("*"))}


def test_shards_hold_what_the_source_has(photos, tmp_path):
    manifest = shard(photos, tmp_path / "out", per_shard=5, quiet=True)
    assert [info.samples for info in manifest.shards] == [5, 5, 2]
    original = load_images(photos, progress=False)
    copy = load_images(tmp_path / "out", progress=False, strict=True)
    order = np.argsort([int(Path(name).stem) for name in original.names])
    by_number = np.argsort([int(name.rpartition("-")[2]) for name in copy.names])
    original, copy = original.take(order), copy.take(by_number)
    np.testing.assert_array_equal(original.pixels, copy.pixels)
    np.testing.assert_array_equal(original.labels, copy.labels)
    assert original.label_names == copy.label_names
    assert original.captions == copy.captions
    assert not copy.skipped


def test_image_files_keep_their_bytes(photos, tmp_path):
    shard(photos, tmp_path / "out", quiet=True)
    with tarfile.open(tmp_path / "out/shard-000000.tar") as tar:
        images = [tar.extractfile(m).read() for m in tar if m.name.endswith(".png")]
    assert sorted(images) == sorted(png(i) for i in range(12))


def test_the_manifest_has_the_size_and_checksum_of_each_shard(photos, tmp_path):
    manifest = shard(photos, tmp_path / "out", per_shard=4, quiet=True)
    assert manifest == read_manifest(tmp_path / "out")
    assert manifest.finished
    for info in manifest.shards:
        content = (tmp_path / "out" / info.name).read_bytes()
        assert (len(content), f"{zlib.crc32(content):08x}") == (info.bytes, info.crc32)


@pytest.mark.parametrize("number", [0, 2])
def test_an_interrupted_call_goes_on_with_the_missing_shards(photos, tmp_path, monkeypatch, number):
    whole = tmp_path / "whole"
    shard(photos, whole, per_shard=3, quiet=True)
    add, out = write._Writer._add, tmp_path / "out"

    def fail(self, tar, index, record):
        if index == 3 * number + 1:
            raise OSError(28, "No space left on device")
        add(self, tar, index, record)

    with monkeypatch.context() as patch:
        patch.setattr(write._Writer, "_add", fail)
        with pytest.raises(OSError, match="No space"):
            shard(photos, out, per_shard=3, workers=1, quiet=True)
    manifest = read_manifest(out)
    assert manifest is not None
    assert (len(manifest.shards), manifest.finished) == (number, False)
    assert not list(out.glob("*.part"))
    before = {info.name: (out / info.name).stat().st_mtime_ns for info in manifest.shards}
    shard(photos, out, per_shard=3, workers=2, quiet=True)
    assert contents(out) == contents(whole)
    assert all((out / name).stat().st_mtime_ns == time for name, time in before.items())


def test_a_shard_that_was_cut_off_is_written_again(photos, tmp_path):
    out = tmp_path / "out"
    shard(photos, out, per_shard=6, quiet=True)
    whole = contents(out)
    (out / "shard-000001.tar").write_bytes(whole["shard-000001.tar"][:700])
    shard(photos, out, per_shard=6, quiet=True)
    assert contents(out) == whole


def test_an_output_of_another_source_or_division_is_refused(photos, tmp_path):
    out = tmp_path / "out"
    shard(photos, out, per_shard=6, quiet=True)
    before = contents(out)
    with pytest.raises(UsageError, match="another source or division"):
        shard(photos, out, per_shard=5, quiet=True)
    (photos / "cat/1.png").write_bytes(png(99))
    with pytest.raises(UsageError, match="another source or division"):
        shard(photos, out, per_shard=6, quiet=True)
    assert contents(out) == before


def test_an_output_with_other_files_is_refused(photos, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        shard(photos, tmp_path / "out", quiet=True)
    with pytest.raises(UsageError, match="is a file"):
        shard(photos, tmp_path / "out/notes.txt", quiet=True)
    with pytest.raises(UsageError, match="folder of this machine"):
        shard(photos, "s3://bucket/out", quiet=True)


def test_a_damaged_manifest_is_an_error(photos, tmp_path):
    shard(photos, tmp_path / "out", quiet=True)
    (tmp_path / "out" / MANIFEST).write_text("{")
    with pytest.raises(PinxitError, match=MANIFEST):
        shard(photos, tmp_path / "out", quiet=True)


def test_two_processes_do_not_write_one_folder(photos, tmp_path):
    (tmp_path / "out").mkdir()
    with FileLock(tmp_path / "out" / LOCK), pytest.raises(PinxitError, match="another process"):
        shard(photos, tmp_path / "out", quiet=True)


def test_images_that_cannot_be_read_are_listed(photos, tmp_path):
    (photos / "cat/1.png").write_bytes(b"no image")
    manifest = shard(photos, tmp_path / "out", quiet=True)
    assert list(manifest.skipped) == ["cat/1.png"]
    assert manifest.samples == 11


def spoil(folder: Path, name: str) -> None:
    """Add something to a folder that shards do not hold."""
    match name:
        case "latin-1":
            (folder / "metadata.csv").write_bytes(b"file_name,caption\ndog/0.png,caf\xe9")
        case "unknown image":
            (folder / "metadata.csv").write_text("file_name,caption\nnowhere.png,x\n")
        case "other format":
            (folder / "x.psd").write_bytes(b"8BPS")
        case "unused column":
            (folder / "metadata.csv").write_text("file_name,weather\ndog/0.png,rain\n")
        case "unreadable":
            (folder / "cat/1.png").write_bytes(b"no image")


@pytest.mark.parametrize(
    "faults",
    [
        ("latin-1",),
        ("unknown image", "other format"),
        ("unused column", "unreadable"),
        ("other format", "unreadable"),
    ],
)
def test_what_shards_do_not_hold_is_printed_as_loading_prints_it(photos, tmp_path, capsys, faults):
    for fault in faults:
        spoil(photos, fault)
    assert main(["shard", str(photos), str(tmp_path / "out"), "--json"]) == 0
    printed = capsys.readouterr()
    record = json.loads(printed.out)
    notes = [note for note in load_images(photos, progress=False).notes if "training" not in note]
    assert record["notes"] == notes != []
    for note in notes:
        assert f"{photos}: {note}" in printed.err
    assert record["samples"] + record["not_readable"] == record["records"] == 12
    assert read_manifest(tmp_path / "out").notes == tuple(notes)


def test_all_images_that_cannot_be_read_are_counted(photos, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("pinxit.data.shards.write.MAX_SKIPPED_NAMES", 3)
    for i in range(1, 8):
        (photos / f"cat/{i}.png").unlink(missing_ok=True)
        (photos / f"cat/{i}.png").write_bytes(b"no image")
    manifest = shard(photos, tmp_path / "out", per_shard=2, quiet=True)
    assert len(manifest.skipped) == 3
    assert manifest.samples + manifest.not_readable == manifest.records
    assert main(["shard", str(photos), str(tmp_path / "out"), "--per-shard", "2"]) == 0
    assert f"{manifest.not_readable} not readable" in capsys.readouterr().out
    assert f"{manifest.not_readable - 3} more images cannot be read" in manifest.notes


NAMES = st.one_of(
    st.sampled_from(["../../evil.tar", "/evil.tar", "a/../../evil.tar", "x.txt", "C:/evil.tar"]),
    st.sampled_from(["..\\evil.tar", "a\0.tar", "\ud800.tar", "", ".tar", "a//b.tar", "sub/b.tar"]),
    st.text("a./\\:", max_size=8).map(lambda name: f"{name}.tar"),
    st.text(max_size=8),
)


@settings(max_examples=60, deadline=None)
@given(NAMES)
def test_a_list_names_no_file_outside_its_folder(name):
    info = {"name": name, "samples": 1, "bytes": 1, "crc32": "", "splits": {}}
    record = {"source": "x", "key": "x", "per_shard": 1, "records": 1, "shards": [info]}
    with contextlib.suppress(PinxitError):
        found = parse_manifest(record, "here").shards[0].name
        assert found == name
        assert found.lower().endswith(".tar")
        assert Path("/srv/set", found).resolve().is_relative_to("/srv/set")
        assert PureWindowsPath("C:/set", found).is_relative_to("C:/set")


@pytest.mark.parametrize("name", ["shard-000000.tar", "sub/b.tar", "a b.TAR", "é.tar"])
def test_usual_names_of_shards_are_read(name):
    info = {"name": name, "samples": 1, "bytes": 1, "crc32": "", "splits": {}}
    record = {"source": "x", "key": "x", "per_shard": 1, "records": 1, "shards": [info]}
    assert parse_manifest(record, "here").shards[0].name == name


def test_pairs_are_refused(tmp_path):
    for name in ("before", "after"):
        (tmp_path / "pairs/a").mkdir(parents=True, exist_ok=True)
        (tmp_path / f"pairs/a/{name}.png").write_bytes(png(0))
    with pytest.raises(UsageError, match="before and after"):
        shard(tmp_path / "pairs", tmp_path / "out", quiet=True)


def test_the_command_does_what_the_function_does(photos, tmp_path, capsys):
    command = ["shard", str(photos), str(tmp_path / "a"), "--per-shard", "5", "--json"]
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["per_shard"] == 5
    pinxit.shard(photos, tmp_path / "b", per_shard=5, quiet=True)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


characters = st.characters(codec="utf-8", exclude_categories=("C", "Z"))
# sources normalize their texts (NFC) before they are records
text = st.text(characters, min_size=1, max_size=8).map(normalize_text).filter(bool)
texts = st.lists(text, min_size=1, max_size=3, unique=True).map(tuple)


@settings(max_examples=60, deadline=None)
@given(
    label=st.none() | text | st.integers(0, 99).map(str),
    number=st.none() | st.integers(0, 9),
    captions=st.dictionaries(st.sampled_from(["und", "en", "fr", "pt-BR"]), texts),
    split=st.sampled_from([None, "train", "validation", "test"]),
    group=st.none() | text.map(lambda name: f"base={name}"),
)
def test_every_field_of_a_record_is_read_again(label, number, captions, split, group):
    content = encode(Image.new("L", (4, 4)))
    record = Record(
        "a.png",
        lambda: content,
        label=label,
        label_index=number,
        captions={language: values[0] for language, values in captions.items()},
        more_captions={k: values[1:] for k, values in captions.items() if values[1:]},
        split=split,
        group=group,
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "shard-0.tar"
        with tarfile.open(path, "w") as tar:
            for name, data in sample_files("00000000", record, content):
                file = Path(folder) / "file"
                file.write_bytes(data)
                tar.add(file, name)
        listed = list(read_shards(Path(folder), [path], "auto"))
        (found,) = [item for item in listed if isinstance(item, Record)]
        assert found.read() == content
    same = {"name": found.name, "read": found.read, "file": found.file}
    assert dataclasses.replace(record, **same) == found


@pytest.mark.parametrize("channels", [(), (1,), (3,), (4,)])
@pytest.mark.parametrize(
    "dtype",
    ["bool", "uint8", "int16", "uint16", "int32", "int64", "float16", "float32", "float64"],
)
def test_arrays_load_as_their_shards_do(tmp_path, dtype, channels):
    rng = np.random.default_rng(0)
    top = {"bool": 2, "uint8": 256}.get(dtype, 1 if dtype.startswith("float") else 4_000)
    images = (rng.random((12, 8, 8, *channels)) * top).astype(dtype)
    np.savez(tmp_path / "set.npz", images=images)
    shard(tmp_path / "set.npz", tmp_path / "out", quiet=True)
    expected = load_images(tmp_path / "set.npz", progress=False)
    found = load_images(tmp_path / "out", progress=False)
    np.testing.assert_array_equal(found.pixels, expected.pixels)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("shape", [(6, 6), (6, 6, 3)])
def test_arrays_are_encoded_without_loss(tmp_path, dtype, shape):
    array = (np.arange(np.prod(shape)).reshape(shape) % 200).astype(dtype)
    np.save(tmp_path / "a.npy", np.stack([array, array[::-1]]))
    shard(tmp_path / "a.npy", tmp_path / "out", quiet=True)
    original = load_images(tmp_path / "a.npy", progress=False)
    copy = load_images(tmp_path / "out", progress=False)
    np.testing.assert_array_equal(original.pixels, copy.pixels)


def test_a_label_that_is_not_utf8_is_written_with_escapes():
    content = encode(Image.new("L", (4, 4)))
    for number in (None, 3):
        record = Record("a.png", lambda: content, label="caf\udce9", label_index=number)
        files = dict(sample_files("00000000", record, content))
        text = files["00000000.cls"] if number is None else files["00000000.json"]
        assert b"udce9" in text


@pytest.mark.parametrize("fault", ["unfinished", "missing"])
def test_a_folder_that_lacks_shards_is_refused_and_its_files_are_not(photos, tmp_path, fault):
    """What is left would be trained on as if it were all."""
    out = tmp_path / "out"
    manifest = shard(photos, out, per_shard=4, quiet=True)
    if fault == "missing":
        (out / manifest.shards[1].name).unlink()
    else:
        dataclasses.replace(manifest, finished=False, shards=manifest.shards[:2]).write(out)
    with pytest.raises(PinxitError, match="has not all of its shards") as error:
        load_images(out, progress=False)
    assert str(error.value).endswith(f"take it as it is: '{out}/*.tar'.")
    assert len(load_images(f"{out}/*.tar", progress=False)) >= 8
    shard(photos, out, per_shard=4, quiet=True)
    assert len(load_images(out, progress=False)) == 12
