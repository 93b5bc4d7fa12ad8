"""`pinxit draw` and `pinxit edit`: what they write, say and refuse."""

from __future__ import annotations

import re

import numpy as np
from PIL import Image

from pinxit.cli import main


def test_draw_writes_a_grid_all_pixels_or_an_animation(text_runs, tmp_path, capsys):
    run = text_runs / "draw"
    assert main(["draw", str(run), "a blob", "une tache", "-n", "3"]) == 0
    path = capsys.readouterr().out.strip()
    assert re.search(r"/draw-a-blob-and-1-more-[0-9a-f]{8}-n3\.png$", path)
    assert Image.open(path).size[0] > Image.open(path).size[1]  # a row a text
    five, two = tmp_path / "many.npy", tmp_path / "few.npy"
    assert main(["draw", str(run), "a blob", "-n", "5", "-o", str(five)]) == 0
    assert main(["draw", str(run), "a blob", "-n", "2", "-o", str(two)]) == 0
    assert np.array_equal(np.load(five)[:2], np.load(two))
    gif = tmp_path / "grows.gif"
    assert main(["draw", str(run), "a blob", "-n", "2", "--guidance", "2", "-o", str(gif)]) == 0
    assert Image.open(gif).n_frames >= 2


def test_draw_warns_of_words_that_no_training_caption_has(text_runs, capsys):
    assert main(["draw", str(text_runs / "draw"), "blob, xylophone", "-n", "1"]) == 0
    assert "warning: not in the training captions: xylophone\n" in capsys.readouterr().err
    assert main(["draw", str(text_runs / "draw"), "blob", "-n", "1"]) == 0
    assert "training captions" not in capsys.readouterr().err


def test_draw_refuses_invalid_input_with_a_short_error(text_runs, fail):
    run = text_runs / "draw"
    assert 'draw needs a "TEXT"' in fail("draw", run)
    assert "empty" in fail("draw", run, " ")
    assert "tokens, the model takes at most" in fail("draw", run, "blob " * 200)
    assert "there are: en, fr" in fail("draw", run, "x", "--language", "de")
    assert "ends in" in fail("draw", run, "x", "-o", "a.svg")
    assert "1 or more" in fail("draw", run, "x", "-n", "0")
    other = fail("draw", text_runs / "caption", "x")
    assert "can caption, but not draw" in other
    assert "--source text --target image" in other


def test_edit_takes_an_image_of_any_size_and_says_what_it_is_read_as(
    text_runs, tmp_path, capsys, fail
):
    image = tmp_path / "mine.png"
    Image.fromarray(np.full((30, 20), 90, np.uint8)).save(image)
    assert main(["edit", str(text_runs / "edit"), str(image), "a blob"]) == 0
    shown = capsys.readouterr()
    assert Image.open(shown.out.strip()).size[0] >= 8
    assert "mine.png is 20 x 30; read as 8 x 8." in shown.err
    color_image = tmp_path / "red.png"
    Image.fromarray(np.full((8, 8, 3), (200, 30, 30), np.uint8)).save(color_image)
    assert main(["edit", str(text_runs / "edit"), str(color_image), "a blob"]) == 0
    assert "red.png is 8 x 8; read as grey." in capsys.readouterr().err
    assert "no image file" in fail("edit", text_runs / "edit", tmp_path / "none.png", "x")
    assert "edit needs IMAGE, an image file" in fail("edit", text_runs / "edit")
