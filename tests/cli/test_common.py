"""What the commands share: names of files, checks, and paths that can be pasted into a shell."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from pinxit.cli import main
from pinxit.cli.common import (
    check_at_least,
    check_suffix,
    data_slug,
    pluralize,
    print_result,
    shell_join,
    slug,
    write_file,
    write_or_raise,
)
from pinxit.errors import PinxitError, UsageError


def test_check_suffix():
    assert check_suffix(None, ".png") is None
    assert check_suffix(Path("a.png"), ".png", ".npy") == Path("a.png")
    with pytest.raises(UsageError, match=r"--out ends in .png or .npy, not '.jpg': a.jpg"):
        check_suffix(Path("a.jpg"), ".png", ".npy")


def test_check_at_least():
    check_at_least(1, 1, "--steps")
    with pytest.raises(UsageError, match="--steps must be 1 or more, not 0"):
        check_at_least(1, 0, "--steps")


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ((), "test"),
        (("photos/",), "photos"),
        (("my photos/dog 1.png",), "dog-1"),
        (("a.png", "b.png"), "2-files"),
        (("shapes:64",), "shapes-64"),
    ],
)
def test_data_is_part_of_a_file_name(data, name):
    assert data_slug(data) == name


def test_slug_is_never_empty_or_a_path():
    assert slug("a red/large star!") == "a-red-large-star"
    assert slug("../..") == "images"
    assert slug("étoile") == "étoile"


def test_pluralize():
    assert pluralize(1, "image") == "1 image"
    assert pluralize(1200, "image") == "1,200 images"


def test_errors_of_writing_are_reported(tmp_path):
    assert write_file(tmp_path / "deep" / "a.txt", "x").read_text() == "x"
    (tmp_path / "file").touch()
    with pytest.raises(PinxitError, match=r"a.txt cannot be written: "):
        write_or_raise(tmp_path / "a.txt", lambda path: (tmp_path / "file" / "b").touch())


def test_the_last_line_is_the_path(capsys):
    print_result(Path("a b.png"), summary="2 images")
    assert capsys.readouterr().out == "2 images\na b.png\n"
    print_result(Path("a b.png"), True, summary="2 images", count=2)
    assert json.loads(capsys.readouterr().out) == {"path": "a b.png", "count": 2}


@pytest.mark.parametrize("command", ["reconstruct", "embed", "score"])
def test_unreadable_files_are_skipped_and_the_others_used(command, folder, tmp_path, capsys):
    good = (folder / "1.png").read_bytes()
    bad = {"words.png": b"no image", "empty.png": b"", "half.png": good[: len(good) // 2]}
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
    files = [*bad, str(folder / "1.png")]
    assert main([command, str(folder / "run"), *files, "--out", _out_name(command)]) == 0
    captured = capsys.readouterr()
    assert "4 files: 1 file not read: half.png (truncated)" in captured.err
    assert captured.err.count("not read") == 3
    assert "1.png is 20 x 30; read as" in captured.err
    assert "half.png is" not in captured.err
    assert captured.out.startswith("1 ")
    assert main([command, str(folder / "run"), *bad]) == 1
    assert "no image of 3 files can be read: " in capsys.readouterr().err


def _out_name(command: str) -> str:
    return {"reconstruct": "a.png", "embed": "a.parquet", "score": "a.csv"}[command]


@pytest.mark.parametrize("name", ["my run", "it's", 'a "b"', "$HOME", "a;b", "-x"])
def test_a_quoted_path_can_be_pasted(name):
    assert shlex.split(shell_join("pinxit", "sample", Path(name))) == ["pinxit", "sample", name]


@pytest.mark.parametrize("name", ["my run", "it's", 'a "b" c'])
def test_hints_quote_paths(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path(name).mkdir()
    assert main(["interpolate", name]) == 2
    hint = capsys.readouterr().err.strip().rpartition(": ")[2]
    assert shlex.split(hint) == ["pinxit", "interpolate", name, "--seeds", "0", "1"]
    assert main(["translate", name]) == 2
    hint = capsys.readouterr().err.strip().rpartition(": ")[2]
    assert shlex.split(hint)[:3] == ["pinxit", "translate", name]


def test_a_run_without_weights_says_how_to_go_on_in_words_that_can_be_pasted(tmp_path, capsys):
    from tests.builders import blobs

    folder = tmp_path / "it's mine"
    folder.mkdir()
    info = blobs().info(blobs().split_indices("train")).to_json()
    config = {"format": 2, "family": "vae", "model": {}, "dataset_info": info}
    (folder / "config.json").write_text(json.dumps(config))
    assert main(["sample", str(folder)]) == 1
    hint = capsys.readouterr().err.strip().rpartition(": ")[2]
    assert shlex.split(hint) == ["pinxit", "train", "--resume", str(folder)]
