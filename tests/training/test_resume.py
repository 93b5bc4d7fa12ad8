"""What a session that goes on is refused, and what it makes of a run that has little."""

from __future__ import annotations

import json
import math
import shutil

import pytest
from safetensors.torch import load_file

import pinxit
from pinxit.errors import PinxitError, UsageError
from pinxit.runs import Run
from pinxit.training import session
from pinxit.training.api import resume, train
from pinxit.training.run_folder import check_output_dir
from tests.builders import blobs

TINY = pinxit.VAE(latent_dim=2, width=16, depth=1, likelihood="bernoulli")
SHORT = {
    "batch_size": 16,
    "num_evals": 4,
    "checkpoint_seconds": 0,
    "warmup_steps": 5,
    "quiet": True,
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Run:
    """A finished run of 20 steps, each of 16 of 48 images."""
    return train(TINY, blobs(), out=tmp_path_factory.mktemp("runs") / "whole", steps=20, **SHORT)


@pytest.fixture
def run(whole, tmp_path) -> Run:
    return Run(shutil.copytree(whole.path, tmp_path / "run"))


def contents(run: Run) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in run.path.rglob("*") if file.is_file()}


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        ({}, "is finished; to train it further give a larger budget"),
        ({"steps": 20}, "is finished after 20 steps in .* minutes, which is this budget or more"),
        ({"steps": 7}, "this budget or more"),
        ({"epochs": 6}, "this budget or more"),
        ({"minutes": 1e-5}, "this budget or more"),
        ({"steps": 0}, "steps must be above 0"),
        ({"minutes": 0}, "minutes must be above 0"),
        ({"minutes": 5, "steps": 50}, "one budget at a time, not minutes and steps"),
        ({"steps": 50, "warmup_stepss": 1}, r"no 'warmup_stepss'\. Did you mean 'warmup_steps'"),
        ({"steps": 50, "precision": "half"}, "precision is auto, fp32 or bf16"),
    ],
)
def test_what_cannot_be_is_said_and_the_run_is_left_as_it_is(run, budget, said):
    before = contents(run)
    with pytest.raises(UsageError, match=said):
        resume(run.path, blobs(), quiet=True, **budget)
    assert contents(run) == before


@pytest.mark.parametrize(
    ("budget", "steps"), [({"steps": 21}, 21), ({"epochs": 7}, 21), ({"minutes": 0.02}, None)]
)
def test_any_larger_budget_takes_a_finished_run_further(run, budget, steps):
    seconds = run.config["trained"]["seconds"]
    if "minutes" in budget:
        budget = {"minutes": budget["minutes"] + seconds / 60}
    again = resume(run.path, blobs(), quiet=True, **budget)
    kept = {name: again.config["training"][name] for name in ("minutes", "steps", "epochs")}
    assert {name: value for name, value in kept.items() if value is not None} == budget
    assert again.config["finished"] is True
    assert again.config["trained"]["steps"] == (steps or pytest.approx(1e4, abs=1e4 - 21))
    if "minutes" in budget:
        # told to a tenth of a second
        assert 60 * budget["minutes"] - 0.1 < again.config["trained"]["seconds"] < seconds + 10


def test_a_run_killed_before_its_first_checkpoint_begins_anew(whole, tmp_path):
    run = Run(tmp_path / "run")
    run.write("config.json", {**whole.config, "finished": False})
    again = resume(run.path, blobs(), quiet=True)
    assert again.weights.read_bytes() == whole.weights.read_bytes()
    assert again.config["finished"] is True


def test_a_run_whose_checkpoint_was_taken_away_is_not_trained_over(run):
    shutil.rmtree(run.path / "checkpoint")
    before = run.weights.read_bytes()
    with pytest.raises(PinxitError, match="nothing to go on from; train anew"):
        resume(run.path, blobs(), steps=30, quiet=True)
    assert run.weights.read_bytes() == before


def test_a_checkpoint_of_another_model_is_said(run):
    config = json.loads((run.path / "config.json").read_text())
    for change in ({"width": 17}, {"depth": 2}, {"depth": 3, "width": 8}):
        run.write("config.json", {**config, "model": {**config["model"], **change}})
        with pytest.raises(PinxitError, match=r"is of another model than config\.json"):
            resume(run.path, blobs(), steps=30, quiet=True)


def test_a_budget_that_is_over_before_the_first_step_is_said(tmp_path, monkeypatch):
    """Opening the images is part of the time that was given."""
    with pytest.raises(PinxitError, match=r"0\.0001 s were over before .*\n?.*--resume .*run"):
        train(TINY, blobs(), out=tmp_path / "run", minutes=1e-4 / 60, **SHORT)
    run = Run(tmp_path / "run")
    assert run.config["finished"] is False
    assert resume(run.path, blobs(), quiet=True, steps=3).config["trained"]["steps"] == 3


def test_a_validation_loss_that_is_no_number_does_not_stand_for_the_best(tmp_path, monkeypatch):
    losses = iter([math.nan, 9.0, math.nan, 8.0])
    monkeypatch.setattr(session, "validate", lambda *_: {"loss": next(losses)})
    kept, keep = [], session.Session.keep
    monkeypatch.setattr(
        session.Session, "keep", lambda self: kept.append(self.trainer.state.step) or keep(self)
    )
    run = train(TINY, blobs(), out=tmp_path / "run", steps=20, **SHORT)
    assert kept == [5, 10, 20]
    assert run.config["trained"]["best_validation_loss"] == 8.0
    assert [row["val_loss"] for row in run.metrics() if "val_loss" in row] == [9.0, 8.0]


def test_without_one_number_config_json_stays_json(tmp_path, monkeypatch):
    monkeypatch.setattr(session, "validate", lambda *_: {"loss": math.nan})
    run = train(TINY, blobs(), out=tmp_path / "run", steps=4, **SHORT)
    assert run.config["trained"]["best_validation_loss"] is None
    assert load_file(run.weights), "there are weights all the same"
    resume(run.path, blobs(), steps=6, quiet=True)


def test_a_place_that_may_not_be_looked_into_is_said(tmp_path, monkeypatch):
    def refused(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(tmp_path), "exists", refused)
    with pytest.raises(PinxitError, match=r"cannot write to .*: Permission denied"):
        check_output_dir(tmp_path / "run")
