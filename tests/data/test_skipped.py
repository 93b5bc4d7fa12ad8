"""What is not used: counted by reason and ending, in a line each."""

from __future__ import annotations

import pytest

from pinxit.data.skipped import (
    SYSTEM_REASON,
    SkippedFile,
    is_system_file,
    summarize_skipped,
    without_system_files,
)


def test_files_are_counted_by_reason_and_ending():
    files = [SkippedFile(f"{i}.DCM", "not supported") for i in range(5)]
    files += [SkippedFile(f"{i}.jfif", "not supported") for i in range(3)]
    files += [SkippedFile(f"{i}.png", f"{i} x 1 pixels: too small") for i in range(4)]
    files += [SkippedFile("x", "truncated"), SkippedFile("d/", "cannot be opened", "folder")]
    files += [SkippedFile(f"a.csv, record {i}", "no such image", "record") for i in range(1, 6)]
    assert summarize_skipped(files) == [
        "8 files not read: .dcm 5, .jfif 3 (not supported)",
        "4 files not read: .png 4 (such as: 0 x 1 pixels: too small)",
        "1 file not read: x (truncated)",
        "5 records not used: a.csv 5 (no such image)",
        "1 folder not read: d/ (cannot be opened)",
    ]


def test_many_reasons_are_summed_up():
    lines = summarize_skipped([SkippedFile(f"{c}.png", c) for c in "abcdefghijklmnopq"])
    assert len(lines) == 12
    assert lines[-1] == "6 files not read: .png 6 (several reasons)"
    assert summarize_skipped([]) == []


@pytest.mark.parametrize(
    "path",
    [
        *("Thumbs.db", "a/.DS_Store", "a/desktop.ini", "._a.png", "@eaDir/a.png/T.jpg"),
        *("$RECYCLE.BIN/$R1.png", "__MACOSX/a/._b.png", ".Trash-1000/files/a.png"),
        *("lost+found/a.png", "a.png:Zone.Identifier"),
    ],
)
def test_files_of_the_operating_system_are_known(path):
    assert is_system_file(path)
    file = SkippedFile(path, SYSTEM_REASON)
    assert without_system_files([file, SkippedFile("b", "truncated")])[0].name == "b"
    assert not is_system_file("thumbs/" + path.rsplit("/", 1)[-1].strip("._").upper() + "x")
