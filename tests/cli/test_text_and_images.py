"""Every direction of text and images, from training to the report."""

from __future__ import annotations

import dataclasses
import os

import numpy as np
import pytest
from PIL import Image

import pinxit
from pinxit.cli import main
from pinxit.console import StageProgress
from pinxit.data.load import load_images
from pinxit.evaluation.evaluator import Evaluator
from pinxit.evaluation.options import EvalOptions
from pinxit.evaluation.retrieval import retrieval_metrics
from pinxit.evaluation.runner import evaluate
from pinxit.models.generation import GenerationParams
from pinxit.reports import report
from pinxit.runs import Run
from tests.builders import blobs, values_of
from tests.cli.conftest import DIRECTIONS


def test_t2i_recall_and_its_baseline_grow_with_k(text_runs):
    captions = {"en": [f"blob {i}" for i in range(len(blobs()))]}
    images = dataclasses.replace(blobs(), captions=captions)
    evaluator = Evaluator(
        Run(text_runs / "draw").load(), images, EvalOptions(), StageProgress(False)
    )
    true, texts = evaluator.caption_pairs
    record = values_of(
        retrieval_metrics(
            lambda batch: batch.pixels.reshape(len(batch), -1).astype(float),
            evaluator.drawings,
            true,
            texts,
            evaluator.train_subset,
        )
    )
    for name in ("t2i_recall_at", "nn_recall_at"):
        assert 0 <= record[f"{name}_1"] <= record[f"{name}_5"] <= record[f"{name}_10"] <= 1


def test_a_captioning_run_reranks_drawings_also_in_evaluate(text_runs, capsys, fail):
    run, reranker = str(text_runs / "draw"), str(text_runs / "caption")
    assert main(["draw", run, "a blob", "-n", "2", "--best-of", "3", "--reranker", reranker]) == 0
    assert capsys.readouterr().out.strip().endswith("-best-of3-reranked-by-caption.png")
    assert "a reranker needs --best-of 2 or more" in fail(
        "draw", run, "a blob", "--reranker", reranker
    )
    assert "but not caption" in fail("draw", run, "a", "--best-of", "2", "--reranker", run)
    params = GenerationParams(best_of=2, reranker=pinxit.load(reranker))
    options = EvalOptions(distances=False, generation=params)
    record = evaluate(run, blobs(), options, progress=False, write=False)
    assert record["protocol"]["generation"]["reranker"] == reranker


@pytest.mark.parametrize("name", DIRECTIONS)
def test_every_direction_is_evaluated_and_reported(text_runs, name):
    record = evaluate(text_runs / name, blobs(), distances=False, progress=False)["metrics"]
    expected = {
        "draw": "sharpness_samples",
        "edit": "edit_psnr",
        "caption": "caption_recall_at_1:fr",
        "translate": "chrf:fr",
    }
    assert expected[name] in record
    page = report(text_runs / name, images=blobs()).read_text()
    assert 'id="captions"' in page
    assert ('id="attention"' in page) == (name in ("draw", "caption"))


def test_training_saves_previews(text_runs):
    assert list((text_runs / "draw" / "samples").glob("step-*.png"))
    assert (text_runs / "draw" / "samples" / "captions.txt").read_text().count("\n") > 2
    assert list((text_runs / "edit" / "samples").glob("step-*.png"))
    assert "\tfr\t" in next((text_runs / "caption" / "samples").glob("step-*.txt")).read_text()


def test_training_without_captions_or_tokenizer_fails_with_a_short_error(tmp_path, fail):
    folder = tmp_path / "mute"
    folder.mkdir()
    for i in range(8):
        Image.fromarray(np.full((8, 8), 20 * i, np.uint8)).save(folder / f"{i}.png")
    out = tmp_path / "run"
    assert "these images have none" in fail("train", "seq2seq", folder, "-o", out)
    assert "no run at" in fail(
        "train", "seq2seq", "shapes:20", "--image-tokenizer", tmp_path / "none", "-o", out
    )
    assert not out.exists()


@pytest.mark.skipif("PINXIT_DATA" not in os.environ, reason="PINXIT_DATA names no data folder")
def test_labels_become_captions_by_templates():
    images = load_images("fashion-mnist", captions="labels", limit=30, progress=False)
    assert set(images.captions) == {"en", "fr"}
    assert all(text.startswith("une photo d") for text in images.captions["fr"])
