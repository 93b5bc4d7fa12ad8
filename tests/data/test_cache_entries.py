"""`pinxit cache`: what the cache holds, a bound on it, and what killed processes left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinxit.cli import main
from pinxit.data import cache_entries
from pinxit.data.cache import cache_dir
from pinxit.data.load import load_images
from pinxit.errors import UsageError


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PINXIT_CACHE", str(tmp_path / "cache"))


def make_entry(root: Path, number: int, size: int, used: float) -> Path:
    folder = root / f"{number:024x}"
    folder.mkdir(parents=True)
    info = folder / "info.json"
    info.write_text(json.dumps({"source": f"set {number}"}))
    (folder / "pixels.npy").write_bytes(b"\0" * max(0, size - info.stat().st_size))
    os.utime(info, (used, used))
    return folder


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(100, 5_000), max_size=6), st.integers(0, 20_000), st.randoms())
def test_a_bound_removes_the_least_recently_used(sizes, bound, rng):
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        times = rng.sample(range(1, 1000), len(sizes))
        for number, (size, used) in enumerate(zip(sizes, times, strict=True)):
            make_entry(root, number, size, used)
        before = cache_entries.list_entries(root)
        assert [entry.used for entry in before] == sorted(times, reverse=True)
        removed = cache_entries.enforce_max_size(root, bound)
        kept = cache_entries.list_entries(root)
        assert kept == before[: len(kept)]
        assert removed == before[: len(kept) - 1 if kept else None : -1]
        assert sum(entry.size for entry in kept) <= bound
        if removed:
            assert sum(entry.size for entry in kept) + removed[-1].size > bound


@pytest.mark.parametrize(
    ("text", "size"),
    [("20GB", 20 * 10**9), ("500 mb", 5 * 10**8), ("2GiB", 2**31), ("1.5k", 1500), ("0", 0)],
)
def test_sizes_are_parsed(text, size):
    assert cache_entries.parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "1e9", "20 gigabytes", "nan", "1.GB.", "٣GB"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(UsageError, match="a size is"):
        cache_entries.parse_bytes(text)


def test_the_command_shows_bounds_and_clears(capsys):
    assert main(["cache"]) == 0
    assert capsys.readouterr().out.startswith("the cache is empty\n0 B in ")
    load_images("shapes:8", progress=False)
    load_images("shapes:9", progress=False)
    assert main(["cache", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert {entry["source"] for entry in shown["entries"]} == {"shapes:8", "shapes:9"}
    assert shown["size"] == sum(entry["size"] for entry in shown["entries"]) > 0
    size = max(entry["size"] for entry in shown["entries"])
    assert main(["cache", "--max-size", f"{size + 1}B"]) == 0
    assert "removed 1 data set" in capsys.readouterr().out
    load_images("shapes:8", progress=False)
    load_images("shapes:9", progress=False)
    assert [entry.source for entry in cache_entries.list_entries(cache_dir())] == ["shapes:9"]
    assert main(["cache", "--max-size", "none"]) == 0
    load_images("shapes:8", progress=False)
    assert len(cache_entries.list_entries(cache_dir())) == 2
    assert main(["cache", "--clear"]) == 0
    assert not cache_entries.list_entries(cache_dir())
    assert main(["cache", "--clear", "--max-size", "1GB"]) == 2
    assert main(["cache", "--max-size", "much"]) == 2


def test_what_a_killed_writer_left_is_removed_and_what_is_written_is_not():
    code = (
        "import sys, time; from pinxit.data.cache import CacheWriter\n"
        "writer = CacheWriter('a' * 24); print(writer.temporary, flush=True); time.sleep(60)"
    )
    writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    folder = Path(writer.stdout.readline().strip())
    assert cache_entries.list_leftovers(cache_dir()) == []
    writer.kill()
    writer.wait()
    assert cache_entries.list_leftovers(cache_dir()) == [folder]
    assert main(["cache"]) == 0
    assert not folder.exists()


@pytest.mark.parametrize("content", ["", "[]", "{", '{"max_size": "x"}', '{"max_size": null}'])
def test_damaged_settings_are_no_bound(content):
    cache_dir().mkdir(parents=True)
    (cache_dir() / cache_entries.SETTINGS_FILE).write_text(content)
    assert cache_entries.read_max_size(cache_dir()) is None
