"""Images as characters of a terminal, and what a stream is written to."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from pinxit.cli import terminal
from pinxit.cli.terminal import UPPER_HALF, save_stream, show_live, to_half_blocks
from pinxit.data.images import Images
from tests.builders import blobs


def test_a_character_shows_two_pixels():
    pixels = np.zeros((1, 4, 3, 3), np.uint8)
    pixels[0, 0, 0], pixels[0, 1, 0] = (255, 0, 0), (0, 0, 255)
    text = to_half_blocks(Images(pixels), 10)
    assert text.plain == f"{UPPER_HALF * 3}\n{UPPER_HALF * 3}"
    assert str(text.spans[0].style) == "#ff0000 on #0000ff"


@pytest.mark.parametrize(("width", "shown"), [(8, 1), (17, 1), (18, 2), (30, 3), (80, 4), (4, 1)])
def test_as_many_images_are_shown_as_fit(width, shown):
    text = to_half_blocks(blobs(4), width)
    lines = text.plain.splitlines()
    assert lines[0].replace(UPPER_HALF, "#").count("#  #") == shown - 1
    assert max(map(len, lines)) <= width


def test_an_odd_height_repeats_the_last_row():
    text = to_half_blocks(blobs(1, height=5), 20)
    assert len(text.plain.splitlines()) == 3


def test_a_stream_without_terminal_shows_nothing_and_returns_the_last(capsys):
    steps = [blobs(2, seed=seed) for seed in range(3)]
    assert show_live(iter(steps)) is steps[-1]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("encoding", "shows"), [("utf-8", True), ("ascii", False)])
def test_a_terminal_shows_the_stream_if_it_has_the_characters(encoding, shows, monkeypatch):
    class Terminal(io.TextIOWrapper):
        def isatty(self) -> bool:
            return True

    stderr = Terminal(io.BytesIO(), encoding=encoding)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr("sys.stderr", stderr)
    show_live(iter([blobs(1)]), width=40)
    stderr.flush()
    assert (UPPER_HALF.encode() in stderr.buffer.getvalue()) == shows


def test_a_stream_is_written_as_animation_grid_or_pixels(tmp_path):
    steps = [blobs(4, seed=seed) for seed in range(3)]
    save_stream(iter(steps), tmp_path / "a.gif")
    assert Image.open(tmp_path / "a.gif").n_frames >= 3
    save_stream(iter(steps), tmp_path / "a.npy")
    assert np.array_equal(np.load(tmp_path / "a.npy"), steps[-1].pixels)
    save_stream(iter(steps), tmp_path / "row.png", columns=4)
    save_stream(iter(steps), tmp_path / "column.png", columns=1)
    row, column = (Image.open(tmp_path / f"{name}.png").size for name in ("row", "column"))
    assert row[0] > row[1]
    assert column[1] > column[0]


def test_live_shows_what_is_written(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(terminal, "show_live", lambda stream: shown.extend(stream) or shown[-1])
    save_stream(iter([blobs(2), blobs(2, seed=1)]), tmp_path / "a.npy", live=True)
    assert len(shown) == 2
