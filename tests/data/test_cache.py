"""The cache: found again, never stale, never half."""

from __future__ import annotations

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
def decode_all(monkeypatch) -> list[str]:
    """The sources that were decoded, rather than found in the cache."""
    seen = []
    read = load._read

    def counted(source, *rest):
        seen.append(source.name)
        return read(source, *rest)

    monkeypatch.setattr(load, "_read", counted)
    return seen


def again(folder, **settings):
    return load.load_images(str(folder), progress=False, **settings)


def test_the_second_time_is_a_memory_map_of_the_first(folder, decode_all):
    first, second = again(folder), again(folder)
    assert len(decode_all) == 1
    assert isinstance(second.pixels, np.memmap)
    assert second.fingerprint == first.fingerprint
    assert (second.pixels == first.pixels).all()
    assert list(second.names) == [f"{i:02d}.bmp" for i in range(12)]
    plain = again(folder, cache=False)
    assert (plain.pixels == second.pixels).all()
    assert plain.fingerprint == second.fingerprint


def test_settings_are_kept_apart(folder, decode_all):
    for settings_ in ({}, {"size": 4}, {"color": "rgb"}, {"fit": "pad"}, {"limit": 5}):
        again(folder, **settings_)
    assert len(decode_all) == 5
    again(folder, limit=5)
    assert len(decode_all) == 5
    again(folder, limit=5, data_seed=1)
    assert len(decode_all) == 6


@pytest.mark.parametrize("hashed", [True, False])
def test_a_changed_file_is_noticed_though_size_and_time_are_the_same(
    folder, decode_all, hashed, monkeypatch
):
    if not hashed:
        monkeypatch.setattr(records, "MAX_HASHED_BYTES", 0)
    before = again(folder)
    file = folder / "03.bmp"
    stat = file.stat()
    Image.new("RGB", (8, 8), (200, 0, 0)).save(file)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    after = again(folder)
    assert len(decode_all) == 2
    assert (after.pixels[3] == [200, 0, 0]).all()
    assert after.fingerprint != before.fingerprint


def test_a_file_added_removed_or_renamed_is_noticed(folder, decode_all):
    again(folder)
    Image.new("RGB", (8, 8)).save(folder / "new.bmp")
    assert len(again(folder)) == 13
    (folder / "new.bmp").unlink()
    assert len(again(folder)) == 12
    assert len(decode_all) == 2  # what it was before is known already
    (folder / "00.bmp").rename(folder / "zero.bmp")
    assert "zero.bmp" in again(folder).names
    (folder / "01.txt").write_text("a caption")
    assert again(folder).captions["und"][0] == "a caption"


@settings(deadline=None, max_examples=50)
@given(st.binary(min_size=1, max_size=64), st.data())
def test_any_byte_that_changes_changes_the_key(content, data):
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        file = root / "a"
        file.write_bytes(content)
        before = hash_files(root, [file])
        assert hash_files(root, [file]) == before
        at = data.draw(st.integers(0, len(content) - 1))
        changed = bytearray(content)
        changed[at] ^= data.draw(st.integers(1, 255))
        file.write_bytes(changed)
        assert hash_files(root, [file]) != before


@pytest.mark.parametrize("damage", ["facts.json", "pixels.npy", "splits.npy"])
@pytest.mark.parametrize("how", ["removed", "cut"])
def test_a_damaged_cache_is_made_anew(folder, decode_all, damage, how):
    whole = np.array(again(folder).pixels)
    file = next(cache.cache_dir().glob(f"*/{damage}"))
    file.unlink() if how == "removed" else file.write_bytes(file.read_bytes()[:-20])
    assert (again(folder).pixels == whole).all()
    assert len(decode_all) == 2
    again(folder)
    assert len(decode_all) == 2


def test_a_failure_leaves_nothing_behind(folder, monkeypatch):
    def fail(*_):
        raise RuntimeError("killed")

    monkeypatch.setattr(load, "_fingerprint", fail)
    with pytest.raises(RuntimeError):
        again(folder)
    assert list(cache.cache_dir().iterdir()) == []


def test_folders_of_killed_processes_are_swept(folder):
    stale = cache.cache_dir() / ".old.x.part"
    stale.mkdir(parents=True)
    fresh = cache.cache_dir() / ".new.x.part"
    fresh.mkdir()
    os.utime(stale, (0, 0))
    again(folder)
    assert not stale.exists()
    assert fresh.exists()


def test_a_cache_that_cannot_be_written_says_what_to_do(folder, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PINXIT_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(PinxitError, match="PINXIT_CACHE may name another folder"):
        again(folder)


def test_a_full_disk_is_told_before(folder, monkeypatch):
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: Free())
    with pytest.raises(PinxitError, match=r"A smaller --size or a --limit"):
        again(folder)


class Free:
    free = 100


def test_two_processes_at_once_both_get_the_images(folder):
    code = (
        "import sys, pinxit; p = pinxit.load_images(sys.argv[1]);"
        "print(p.fingerprint, len(p), 'torch' in sys.modules)"
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    said = {process.communicate(timeout=60)[0] for process in running}
    assert len(said) == 1
    assert said.pop().split()[1:] == ["12", "False"]  # and torch was not imported
    assert len(list(cache.cache_dir().iterdir())) == 1
