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
DIRECTIONS = {
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
    for name, (source, target) in DIRECTIONS.items():
        tokens = str(root / "tokenizer") if name == "draw" else None
        config = pinxit.Seq2Seq(source=source, target=target, image_tokenizer=tokens, **TINY)
        pinxit.train(config, blobs(), steps=3, num_evals=1, out=root / name, quiet=True)
    shutil.rmtree(root / "tokenizer")  # all that is needed of it travels with the run
    return root


def fail(capsys, *words):
    assert main([str(word) for word in words]) in (1, 2)
    return capsys.readouterr().err


def test_draw_writes_a_grid_all_pixels_or_an_animation(runs, tmp_path, capsys):
    run = runs / "draw"
    assert main(["draw", str(run), "a blob", "une tache", "-n", "3"]) == 0
    path = capsys.readouterr().out.strip()
    assert path.endswith("draw-a-blob-and-1-more-n3.png")
    assert Image.open(path).size[0] > Image.open(path).size[1]  # a row a text
    five, two = tmp_path / "many.npy", tmp_path / "few.npy"
    assert main(["draw", str(run), "a blob", "-n", "5", "-o", str(five)]) == 0
    assert main(["draw", str(run), "a blob", "-n", "2", "-o", str(two)]) == 0
    assert np.array_equal(np.load(five)[:2], np.load(two))
    gif = tmp_path / "grows.gif"
    assert main(["draw", str(run), "a blob", "-n", "2", "--guidance", "2", "-o", str(gif)]) == 0
    assert Image.open(gif).n_frames >= 2


def test_draw_warns_of_words_that_no_training_caption_has(runs, capsys):
    assert main(["draw", str(runs / "draw"), "blob, xylophone", "-n", "1"]) == 0
    assert "warning: not in the training captions: xylophone\n" in capsys.readouterr().err
    assert main(["draw", str(runs / "draw"), "blob", "-n", "1"]) == 0
    assert "training captions" not in capsys.readouterr().err


def test_t2i_recall_and_its_baseline_grow_with_k(runs):
    captions = {"en": [f"blob {i}" for i in range(len(blobs()))]}
    images = dataclasses.replace(blobs(), captions=captions)
    evaluator = Assessment(Run(runs / "draw").load(), images, EvalOptions(), StageProgress(False))
    record = dict(
        evaluator.looked_up(lambda batch: batch.pixels.reshape(len(batch), -1).astype(float))
    )
    for name in ("t2i_recall_at", "nn_recall_at"):
        assert 0 <= record[f"{name}_1"] <= record[f"{name}_5"] <= record[f"{name}_10"] <= 1


def test_a_captioning_run_reranks_drawings_also_in_evaluate(runs, capsys):
    run, reranker = str(runs / "draw"), str(runs / "caption")
    assert main(["draw", run, "a blob", "-n", "2", "--best-of", "3", "--reranker", reranker]) == 0
    assert capsys.readouterr().out.strip().endswith("-best-of3-reranked-by-caption.png")
    assert "a reranker needs best_of 2 or more" in fail(
        capsys, "draw", run, "a blob", "--reranker", reranker
    )
    assert "but not caption" in fail(capsys, "draw", run, "a", "--best-of", "2", "--reranker", run)
    params = GenerationParams(best_of=2, reranker=pinxit.load(reranker))
    options = EvalOptions(distances=False, generation=params)
    record = evaluate(run, blobs(), options, progress=False, write=False)
    assert record["protocol"]["generation"]["reranker"] == reranker


def test_draw_refuses_invalid_input_with_a_short_error(runs, capsys):
    run = runs / "draw"
    assert 'draw needs a "TEXT"' in fail(capsys, "draw", run)
    assert "empty" in fail(capsys, "draw", run, " ")
    assert "pieces of words" in fail(capsys, "draw", run, "blob " * 200)
    assert "there are: en, fr" in fail(capsys, "draw", run, "x", "--language", "de")
    assert "ends in" in fail(capsys, "draw", run, "x", "-o", "a.jpg")
    assert "1 or more" in fail(capsys, "draw", run, "x", "-n", "0")
    other = fail(capsys, "draw", runs / "caption", "x")
    assert "can caption, but not draw" in other
    assert "--source text --target image" in other


def test_edit_takes_an_image_of_any_size_and_says_what_it_is_read_as(runs, tmp_path, capsys):
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
    assert "no image file" in fail(capsys, "edit", runs / "edit", tmp_path / "none.png", "x")
    assert "edit needs IMAGE, an image file" in fail(capsys, "edit", runs / "edit")


def test_caption_prints_text_or_json_in_a_language(runs, capsys):
    run = str(runs / "caption")
    image = str(runs / "one.png")
    Image.fromarray(blobs(1).pixels[0, ..., 0]).save(image)
    assert main(["caption", run, image, "--language", "fr"]) == 0
    assert "one.png: " in capsys.readouterr().out
    assert main(["caption", run, image, "--num-captions", "2", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["language"] == "en"
    first, second = record["images"][0]["captions"]
    assert first["log_prob"] < 0
    assert first["text"] != second["text"]
    sampling = ["--temperature", "1", "--seed", "3", "--json"]
    assert main(["caption", run, image, *sampling]) == 0
    first_output = capsys.readouterr().out
    assert main(["caption", run, image, *sampling]) == 0
    assert capsys.readouterr().out == first_output
    assert "--top-k and --top-p need --temperature" in fail(
        capsys, "caption", run, image, "--top-k", "3"
    )


def test_translate_detects_the_language_or_takes_it(runs, capsys):
    run = str(runs / "translate")
    assert main(["translate", run, "a blob at the top", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["from"], record["to"]) == ("en", "fr")
    assert main(["translate", run, "a blob", "--from", "fr", "--to", "en"]) == 0
    assert "no language 'de'" in fail(capsys, "translate", run, "a blob", "--to", "de")
    assert 'translate needs a "TEXT"' in fail(capsys, "translate", run)


@pytest.mark.parametrize("name", DIRECTIONS)
def test_every_direction_is_evaluated_and_reported(runs, name):
    record = evaluate(runs / name, blobs(), distances=False, progress=False)["metrics"]
    expected = {
        "draw": "sharpness_samples",
        "edit": "edit_psnr",
        "caption": "caption_recall_at_1:fr",
        "translate": "chrf:fr",
    }
    assert expected[name] in record
    page = report(runs / name, images=blobs()).read_text()
    assert 'id="captions"' in page
    assert ('id="attention"' in page) == (name in ("draw", "caption"))


def test_training_saves_previews(runs):
    assert list((runs / "draw" / "samples").glob("step-*.png"))
    assert (runs / "draw" / "samples" / "captions.txt").read_text().count("\n") > 2
    assert list((runs / "edit" / "samples").glob("step-*.png"))
    assert "\tfr\t" in next((runs / "caption" / "samples").glob("step-*.txt")).read_text()


def test_training_without_captions_or_tokenizer_fails_with_a_short_error(tmp_path, capsys):
    folder = tmp_path / "mute"
    folder.mkdir()
    for i in range(8):
        Image.fromarray(np.full((8, 8), 20 * i, np.uint8)).save(folder / f"{i}.png")
    out = tmp_path / "run"
    assert "these images have none" in fail(capsys, "train", "seq2seq", folder, "-o", out)
    assert "no run at" in fail(
        capsys, "train", "seq2seq", "shapes:20", "--image-tokenizer", tmp_path / "none", "-o", out
    )
    assert not out.exists()


@pytest.mark.skipif("PINXIT_DATA" not in os.environ, reason="PINXIT_DATA names no data folder")
def test_labels_become_captions_by_templates():
    images = load_images("fashion-mnist", captions="labels", limit=30, progress=False)
    assert set(images.captions) == {"en", "fr"}
    assert all(text.startswith("une photo d") for text in images.captions["fr"])
