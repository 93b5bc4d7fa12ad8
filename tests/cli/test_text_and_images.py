"""`pinxit draw`, `edit`, `caption` and `translate`: what they write, say and refuse."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

import pinxit
from pinxit.cli import main
from pinxit.console import StageProgress
from pinxit.data.load import load_images
from pinxit.evaluation.options import EvalOptions
from pinxit.evaluation.runner import Assessment, evaluate
from pinxit.models.generation import GenerationParams
from pinxit.reports import report
from pinxit.runs import Run
from tests.builders import blobs

TINY = {"width": 32, "heads": 2, "depth": 1, "decoder_depth": 1}
WAYS = {
    "draw": ("text", "image"),
    "edit": ("image+text", "image"),
    "caption": ("image", "text"),
    "translate": ("text", "text"),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of each direction, and of the tokenizer that the first paints the codes of."""
    root = tmp_path_factory.mktemp("runs")
    tokenizer = pinxit.ImageTokenizer(patch_size=4, fsq_levels=(4, 4), width=8, depth=1)
    pinxit.train(tokenizer, blobs(), steps=2, num_evals=1, out=root / "tokenizer", quiet=True)
    for name, (source, target) in WAYS.items():
        tokens = str(root / "tokenizer") if name == "draw" else None
        config = pinxit.Seq2Seq(source=source, target=target, image_tokenizer=tokens, **TINY)
        pinxit.train(config, blobs(), steps=3, num_evals=1, out=root / name, quiet=True)
    shutil.rmtree(root / "tokenizer")  # all that is needed of it travels with the run
    return root


def refused(capsys, *words):
    assert main([str(word) for word in words]) in (1, 2)
    return capsys.readouterr().err


def test_drawing_writes_a_grid_all_pixels_and_an_animation(runs, tmp_path, capsys):
    run = runs / "draw"
    assert main(["draw", str(run), "a blob", "une tache", "-n", "3"]) == 0
    written = capsys.readouterr().out.strip()
    assert written.endswith("draw-a-blob-and-1-more-n3.png")
    assert Image.open(written).size[0] > Image.open(written).size[1]  # a row a text
    many, few = tmp_path / "many.npy", tmp_path / "few.npy"
    assert main(["draw", str(run), "a blob", "-n", "5", "-o", str(many)]) == 0
    assert main(["draw", str(run), "a blob", "-n", "2", "-o", str(few)]) == 0
    assert np.array_equal(np.load(many)[:2], np.load(few))
    gif = tmp_path / "grows.gif"
    assert main(["draw", str(run), "a blob", "-n", "2", "--guidance", "2", "-o", str(gif)]) == 0
    assert Image.open(gif).n_frames >= 2


def test_words_that_no_caption_has_are_told(runs, capsys):
    assert main(["draw", str(runs / "draw"), "blob, xylophone", "-n", "1"]) == 0
    assert "the model learned from: xylophone; it can only guess." in capsys.readouterr().err
    assert main(["draw", str(runs / "draw"), "blob", "-n", "1"]) == 0
    assert "guess" not in capsys.readouterr().err


def test_drawings_are_looked_for_among_the_true_images(runs):
    told = {"en": [f"blob {i}" for i in range(len(blobs()))]}
    images = dataclasses.replace(blobs(), captions=told)
    judged = Assessment(Run(runs / "draw").load(), images, EvalOptions(), StageProgress(False))
    found = dict(judged.looked_up(lambda some: some.pixels.reshape(len(some), -1).astype(float)))
    for name in ("t2i_recall_at", "nn_recall_at"):
        assert 0 <= found[f"{name}_1"] <= found[f"{name}_5"] <= found[f"{name}_10"] <= 1


def test_a_captioning_run_judges_drawings_also_where_they_are_measured(runs, capsys):
    run, reranker = str(runs / "draw"), str(runs / "caption")
    assert main(["draw", run, "a blob", "-n", "2", "--best-of", "3", "--reranker", reranker]) == 0
    assert capsys.readouterr().out.strip().endswith("-of3-judged-by-caption.png")
    assert "a reranker needs best_of 2 or more" in refused(
        capsys, "draw", run, "a blob", "--reranker", reranker
    )
    assert "but not caption" in refused(
        capsys, "draw", run, "a", "--best-of", "2", "--reranker", run
    )
    params = GenerationParams(best_of=2, reranker=pinxit.load(reranker))
    options = EvalOptions(distances=False, generation=params)
    found = evaluate(run, blobs(), options, progress=False, write=False)
    assert found["protocol"]["generation"]["reranker"] == reranker


def test_drawing_refuses_what_cannot_be_in_a_line_or_two(runs, capsys):
    run = runs / "draw"
    assert "say what to draw" in refused(capsys, "draw", run)
    assert "empty" in refused(capsys, "draw", run, " ")
    assert "pieces of words" in refused(capsys, "draw", run, "blob " * 200)
    assert "there are: en, fr" in refused(capsys, "draw", run, "x", "--language", "de")
    assert "ends in" in refused(capsys, "draw", run, "x", "-o", "a.jpg")
    assert "1 or more" in refused(capsys, "draw", run, "x", "-n", "0")
    other = refused(capsys, "draw", runs / "caption", "x")
    assert "can caption, but not draw" in other
    assert "--source text --target image" in other


def test_an_edit_takes_an_image_of_any_size_and_writes_one(runs, tmp_path, capsys):
    image = tmp_path / "mine.png"
    Image.fromarray(np.full((30, 20), 90, np.uint8)).save(image)
    assert main(["edit", str(runs / "edit"), str(image), "a blob"]) == 0
    shown = capsys.readouterr()
    assert Image.open(shown.out.strip()).size[0] >= 8
    assert "mine.png is 20 x 30; read as 8 x 8." in shown.err
    colourful = tmp_path / "red.png"
    Image.fromarray(np.full((8, 8, 3), (200, 30, 30), np.uint8)).save(colourful)
    assert main(["edit", str(runs / "edit"), str(colourful), "a blob"]) == 0
    assert "red.png is 8 x 8; read as grey." in capsys.readouterr().err
    assert "no image file" in refused(capsys, "edit", runs / "edit", tmp_path / "none.png", "x")
    assert "edit needs IMAGE, an image file" in refused(capsys, "edit", runs / "edit")


def test_captions_in_a_language_as_text_and_as_json(runs, capsys):
    run = str(runs / "caption")
    image = str(runs / "one.png")
    Image.fromarray(blobs(1).pixels[0, ..., 0]).save(image)
    assert main(["caption", run, image, "--language", "fr"]) == 0
    assert "one.png: " in capsys.readouterr().out
    assert main(["caption", run, image, "--count", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["language"] == "en"
    first, second = found["images"][0]["captions"]
    assert first["log_prob"] < 0
    assert first["text"] != second["text"]
    chance = ["--temperature", "1", "--seed", "3", "--json"]
    assert main(["caption", run, image, *chance]) == 0
    drawn = capsys.readouterr().out
    assert main(["caption", run, image, *chance]) == 0
    assert capsys.readouterr().out == drawn
    assert "give a --temperature" in refused(capsys, "caption", run, image, "--top-k", "3")


def test_translating_tells_the_language_or_is_told(runs, capsys):
    run = str(runs / "translate")
    assert main(["translate", run, "a blob at the top", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["from"], found["to"]) == ("en", "fr")
    assert main(["translate", run, "a blob", "--from", "fr", "--to", "en"]) == 0
    assert "no language 'de'" in refused(capsys, "translate", run, "a blob", "--to", "de")
    assert "say what to translate" in refused(capsys, "translate", run)


@pytest.mark.parametrize("name", WAYS)
def test_every_direction_is_judged_and_shown(runs, name):
    found = evaluate(runs / name, blobs(), distances=False, progress=False)["metrics"]
    expected = {
        "draw": "sharpness_samples",
        "edit": "edit_psnr",
        "caption": "caption_recall_at_1:fr",
        "translate": "chrf:fr",
    }
    assert expected[name] in found
    page = report(runs / name, images=blobs()).read_text()
    assert 'id="worded"' in page
    assert ('id="attended"' in page) == (name in ("draw", "caption"))


def test_what_it_learned_is_seen_as_it_learns(runs):
    assert list((runs / "draw" / "samples").glob("step-*.png"))
    assert (runs / "draw" / "samples" / "captions.txt").read_text().count("\n") > 2
    assert list((runs / "edit" / "samples").glob("step-*.png"))
    assert "\tfr\t" in next((runs / "caption" / "samples").glob("step-*.txt")).read_text()


def test_training_says_what_is_missing(tmp_path, capsys):
    folder = tmp_path / "mute"
    folder.mkdir()
    for i in range(8):
        Image.fromarray(np.full((8, 8), 20 * i, np.uint8)).save(folder / f"{i}.png")
    out = tmp_path / "run"
    assert "these images have none" in refused(capsys, "train", "seq2seq", folder, "-o", out)
    assert "no run at" in refused(
        capsys, "train", "seq2seq", "shapes:20", "--image-tokenizer", tmp_path / "none", "-o", out
    )
    assert not out.exists()


@pytest.mark.skipif("PINXIT_DATA" not in os.environ, reason="PINXIT_DATA names no data folder")
def test_labels_become_captions():
    images = load_images("fashion-mnist", captions="labels", limit=30, progress=False)
    assert set(images.captions) == {"en", "fr"}
    assert all(text.startswith("une photo d") for text in images.captions["fr"])
