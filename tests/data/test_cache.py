"""The cache: images are found again, and are never stale or incomplete."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pinxit.data import cache, load, records
from pinxit.data.records import hash_files
from pinxit.errors import PinxitError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv("PINXIT_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "photos"
    root.mkdir()
    for i in range(12):
        Image.new("RGB", (8, 8), (i, 2 * i, 40)).save(root / f"{i:02d}.bmp")
    return root


@pytest.fixture
def decode_log(monkeypatch) -> list[str]:
    """The names of the sources that were decoded, rather than loaded from the cache."""
    sources = []
    read = load._read

    def count_reads(source, *rest):
        sources.append(source.name)
        return read(source, *rest)

    monkeypatch.setattr(load, "_read", count_reads)
    return sources


def load_folder(folder, **options):
    return load.load_images(str(folder), progress=False, **options)


def test_the_second_load_is_a_memory_map_of_the_first(folder, decode_log):
    first, second = load_folder(folder), load_folder(folder)
    assert len(decode_log) == 1
    assert isinstance(second.pixels, np.memmap)
    assert second.fingerprint == first.fingerprint
    assert (second.pixels == first.pixels).all()
    assert list(second.names) == [f"{i:02d}.bmp" for i in range(12)]
    plain = load_folder(folder, cache=False)
    assert (plain.pixels == second.pixels).all()
    assert plain.fingerprint == second.fingerprint


def test_each_combination_of_options_is_cached_separately(folder, decode_log):
    for options in ({}, {"size": 4}, {"color": "rgb"}, {"fit": "pad"}, {"limit": 5}):
        load_folder(folder, **options)
    assert len(decode_log) == 5
    load_folder(folder, limit=5)
    assert len(decode_log) == 5
    load_folder(folder, limit=5, data_seed=1)
    assert len(decode_log) == 6


@pytest.mark.parametrize("hashed", [True, False])
def test_a_changed_file_of_the_same_size_and_time_is_read_again(
    folder, decode_log, hashed, monkeypatch
):
    if not hashed:
        monkeypatch.setattr(records, "MAX_HASHED_BYTES", 0)
    before = load_folder(folder)
    file = folder / "03.bmp"
    stat = file.stat()
    Image.new("RGB", (8, 8), (200, 0, 0)).save(file)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    after = load_folder(folder)
    assert len(decode_log) == 2
    assert (after.pixels[3] == [200, 0, 0]).all()
    assert after.fingerprint != before.fingerprint


def test_added_removed_and_renamed_files_change_the_cached_images(folder, decode_log):
    load_folder(folder)
    Image.new("RGB", (8, 8)).save(folder / "new.bmp")
    assert len(load_folder(folder)) == 13
    (folder / "new.bmp").unlink()
    assert len(load_folder(folder)) == 12
    assert len(decode_log) == 2  # the earlier state is still cached
    (folder / "00.bmp").rename(folder / "zero.bmp")
    assert "zero.bmp" in load_folder(folder).names
    (folder / "01.txt").write_text("a caption")
    assert load_folder(folder).captions["und"][0] == "a caption"


@settings(deadline=None, max_examples=50)
@given(st.binary(min_size=1, max_size=64), st.data())
def test_every_changed_byte_changes_the_hash_of_the_files(content, data):
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        file = root / "a"
        file.write_bytes(content)
        before = hash_files(root, [file])
        assert hash_files(root, [file]) == before
        index = data.draw(st.integers(0, len(content) - 1))
        changed = bytearray(content)
        changed[index] ^= data.draw(st.integers(1, 255))
        file.write_bytes(changed)
        assert hash_files(root, [file]) != before


@pytest.mark.parametrize("damage", ["info.json", "pixels.npy", "splits.npy"])
@pytest.mark.parametrize("how", ["removed", "truncated"])
def test_a_damaged_cache_folder_is_rebuilt(folder, decode_log, damage, how):
    expected = np.array(load_folder(folder).pixels)
    file = next(cache.cache_dir().glob(f"*/{damage}"))
    file.unlink() if how == "removed" else file.write_bytes(file.read_bytes()[:-20])
    assert (load_folder(folder).pixels == expected).all()
    assert len(decode_log) == 2
    load_folder(folder)
    assert len(decode_log) == 2


KEYS = [
    "names",
    "has_labels",
    "has_groups",
    "label_names",
    "captions",
    "fingerprint",
    "skipped",
    "notes",
]


@pytest.mark.parametrize("content", [*KEYS, "[]", "{}", '{"names": 3}', "not JSON"])
def test_a_cache_folder_of_another_format_is_rebuilt(folder, decode_log, content):
    pixels = np.array(load_folder(folder).pixels)
    file = next(cache.cache_dir().glob("*/info.json"))
    info = json.loads(file.read_text())
    if content in info:
        content = json.dumps({key: value for key, value in info.items() if key != content})
    file.write_text(content)
    assert (load_folder(folder).pixels == pixels).all()
    assert len(decode_log) == 2
    load_folder(folder)
    assert len(decode_log) == 2


@pytest.mark.parametrize("array", ["pixels", "splits"])
def test_a_cache_folder_with_arrays_of_another_length_is_rebuilt(folder, decode_log, array):
    images = load_folder(folder)
    file = next(cache.cache_dir().glob(f"*/{array}.npy"))
    np.save(file, np.array(getattr(images, array)[:5]))
    assert len(load_folder(folder)) == 12
    assert len(decode_log) == 2


def test_a_failed_load_leaves_no_files(folder, monkeypatch):
    def fail(*_):
        raise RuntimeError("killed")

    monkeypatch.setattr(load, "compute_fingerprint", fail)
    with pytest.raises(RuntimeError):
        load_folder(folder)
    assert list(cache.cache_dir().iterdir()) == []


def test_stale_temporary_folders_are_removed(folder):
    stale = cache.cache_dir() / ".old.x.part"
    stale.mkdir(parents=True)
    fresh = cache.cache_dir() / ".new.x.part"
    fresh.mkdir()
    os.utime(stale, (0, 0))
    load_folder(folder)
    assert not stale.exists()
    assert fresh.exists()


@pytest.mark.parametrize("temporary", ["usable", "unusable"])
def test_without_a_usable_cache_images_are_decoded_each_time(
    folder, tmp_path, monkeypatch, capsys, temporary
):
    expected = load_folder(folder)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PINXIT_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "there is none"))
    if temporary == "usable":
        (tmp_path / "there is none").mkdir()
    images = load_folder(folder)
    first, second = capsys.readouterr().err.splitlines()
    assert "cannot cache decoded images" in first
    assert "Set PINXIT_CACHE to another folder" in first
    assert second == "Until then the images are decoded again each time."
    assert images.fingerprint == expected.fingerprint
    assert (images.pixels == expected.pixels).all()
    assert not list(tmp_path.glob("there is none/*"))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_disk_that_fills_while_the_cache_is_written_is_an_error_that_leaves_nothing(
    folder, monkeypatch, code
):
    def fail(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(cache, "_write_header", fail)
    with pytest.raises(PinxitError, match=r"(?s)cannot cache .*free some space .pinxit cache"):
        load_folder(folder)
    assert list(cache.cache_dir().iterdir()) == []


def test_a_full_disk_is_an_error_before_decoding(folder, monkeypatch):
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: FullDisk())
    with pytest.raises(PinxitError, match=r"Use a smaller --size or a --limit"):
        load_folder(folder)


class FullDisk:
    free = 100


def test_concurrent_processes_load_the_same_images(folder):
    code = (
        "import sys, pinxit; p = pinxit.load_images(sys.argv[1]);"
        "print(p.fingerprint, len(p), 'torch' in sys.modules)"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    outputs = {process.communicate(timeout=60)[0] for process in processes}
    assert len(outputs) == 1
    assert outputs.pop().split()[1:] == ["12", "False"]  # torch was not imported
    assert len(list(cache.cache_dir().iterdir())) == 1
