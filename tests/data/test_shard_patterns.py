"""Patterns of shards: braces as the shell expands them, globs, and what does not match."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinxit.cli.train import names_data
from pinxit.data.load import load_images
from pinxit.data.shards.patterns import expand_braces, is_pattern
from pinxit.errors import UsageError
from tests.data.test_shards import png, write_tar

words = st.text("ab0.-", max_size=3)
number = st.integers(0, 120).map(str) | st.integers(0, 120).map(lambda n: f"{n:03d}")
braces = st.lists(words, min_size=2, max_size=3).map(lambda texts: "{" + ",".join(texts) + "}")
ranges = st.tuples(number, number).map(lambda ends: "{" + "..".join(ends) + "}")


@settings(max_examples=40, deadline=None)
@given(st.lists(words | braces | ranges, min_size=1, max_size=3).map("".join))
def test_braces_are_expanded_as_the_shell_does(pattern):
    script = f'for name in x{pattern}; do printf "%s\\n" "$name"; done'
    shell = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert [f"x{name}" for name in expand_braces(pattern)] == shell.stdout.splitlines()


@pytest.fixture
def shards(tmp_path, monkeypatch):
    monkeypatch.setenv("PINXIT_CACHE", str(tmp_path / "cache"))
    for i in range(4):
        (tmp_path / "s").mkdir(exist_ok=True)
        write_tar(tmp_path / f"s/{i:02d}.tar", [(f"{i}{k}.png", png(10 * i + k)) for k in range(3)])
    return tmp_path / "s"


@pytest.mark.parametrize(
    ("pattern", "count"),
    [
        ("{00..02}.tar", 9),
        ("0[13].tar", 6),
        ("*.tar", 12),
        ("{00,0?}.tar", 12),
        ("{00.tar,01.tar}", 6),
    ],
)
def test_a_pattern_is_a_source(shards, pattern, count):
    images = load_images(f"{shards}/{pattern}", progress=False)
    assert len(images) == count
    assert not images.skipped


def test_a_pattern_that_names_missing_files_is_refused(shards):
    with pytest.raises(UsageError, match=r"do not exist: .*04\.tar and 1 more"):
        load_images(f"{shards}/{{00..05}}.tar", progress=False)
    with pytest.raises(UsageError, match="no file matches"):
        load_images(f"{shards}/x*.tar", progress=False)
    with pytest.raises(UsageError, match="more than"):
        load_images(f"{shards}/{{0..9999999}}.tar", progress=False)


def test_a_file_with_special_characters_in_its_name_is_itself(shards):
    (shards / "00.tar").rename(shards / "a[1].tar")
    assert not is_pattern(str(shards / "a[1].tar"), ".tar")
    assert len(load_images(shards / "a[1].tar", progress=False)) == 3


def test_train_takes_a_pattern_for_data():
    assert names_data("shards/{000..009}.tar")
    assert not names_data("vae")
