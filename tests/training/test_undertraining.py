"""Runs trained too briefly are detected by their steps and epochs."""

from __future__ import annotations

import json

import pytest

from pinxit.evaluation.runner import evaluate
from pinxit.training.undertraining import (
    TrainingLength,
    get_training_length,
    is_undertrained,
    undertraining_warnings,
)
from tests.builders import blobs, make_run


@pytest.mark.parametrize(
    ("steps", "epochs", "is_short"),
    [(13, 0.6, True), (300, 4.9, True), (300, 5.0, False), (20_000, 1.2, False)],
)
def test_few_epochs_are_short_unless_there_are_many_steps(steps, epochs, is_short):
    assert TrainingLength(steps, epochs).is_short == is_short


def test_length_is_written_with_its_unit_in_singular_or_plural():
    assert str(TrainingLength(13, 0.6)) == "13 steps (0.6 epochs)"
    assert str(TrainingLength(1, 1.0)) == "1 step (1.0 epoch)"
    assert str(TrainingLength(1200, 2.04)) == "1,200 steps (2.0 epochs)"


def test_length_comes_from_the_training_summary_or_the_metrics(tmp_path):
    run = make_run(tmp_path, blobs(), steps=4)
    assert get_training_length(run) == TrainingLength(4, 4.0)
    file = run.path / "config.json"
    trained = {"steps": 9, "images_seen": 24}
    file.write_text(json.dumps(json.loads(file.read_text()) | {"trained": trained}))
    assert get_training_length(type(run)(run.path)) == TrainingLength(9, 0.5)


def test_run_without_a_record_of_its_length_has_no_warning(tmp_path):
    run = make_run(tmp_path, blobs(), steps=4)
    (run.path / "metrics.csv").unlink()
    assert get_training_length(run) is None
    assert undertraining_warnings(run) == []
    assert not is_undertrained(run)
    assert not is_undertrained(None)


def test_evaluation_of_a_short_run_says_first_to_train_longer(tmp_path):
    run = make_run(tmp_path, blobs(), steps=2)
    record = evaluate(run, blobs(), iw_samples=0, distances=False, progress=False, write=False)
    assert record["warnings"][0] == "trained for 2 steps (2.0 epochs) only; train longer"
    assert not any("--beta" in warning for warning in record["warnings"])
