"""Atomic writes: the old file or the new one, and no temporary files."""

from __future__ import annotations

import os

import pytest

from pinxit.data.atomic_write import write_atomically


def test_text_and_bytes_are_written_in_new_folders(tmp_path):
    assert write_atomically(tmp_path / "a" / "b.txt", "été").read_text() == "été"
    assert write_atomically(tmp_path / "a" / "b.txt", b"\x00").read_bytes() == b"\x00"
    assert [file.name for file in (tmp_path / "a").iterdir()] == ["b.txt"]


def test_an_interrupted_write_keeps_the_old_file(tmp_path, monkeypatch):
    file = write_atomically(tmp_path / "a.txt", "old")

    def interrupt(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(file, "new")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]
