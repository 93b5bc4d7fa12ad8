"""Resuming: which settings are rejected, and runs without a usable checkpoint."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import signal

import pytest
from safetensors.torch import load_file

import pinxit
from pinxit.console import format_number
from pinxit.data.load import LoadOptions
from pinxit.errors import PinxitError, UsageError
from pinxit.models import vae
from pinxit.runs import Run
from pinxit.training import progress, session
from pinxit.training.api import resume, train
from pinxit.training.resume import resolve_resume_settings
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
def base_run(tmp_path_factory) -> Run:
    """A finished run: 20 steps with 16 of 48 images each."""
    return train(TINY, blobs(), out=tmp_path_factory.mktemp("runs") / "whole", steps=20, **SHORT)


@pytest.fixture
def run(base_run, tmp_path) -> Run:
    return Run(shutil.copytree(base_run.path, tmp_path / "run"))


def file_contents(run: Run) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in run.path.rglob("*") if file.is_file()}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "is finished; to train it further give a larger budget"),
        ({"steps": 20}, "has already trained 20 steps in .* minutes; give a larger budget"),
        ({"steps": 7}, "give a larger budget"),
        ({"epochs": 6}, "give a larger budget"),
        ({"minutes": 1e-5}, "give a larger budget"),
        ({"steps": 0}, "steps must be above 0"),
        ({"minutes": 0}, "minutes must be above 0"),
        ({"minutes": 5, "steps": 50}, "give one budget, not minutes and steps"),
        ({"steps": 50, "warmup_stepss": 1}, r"no 'warmup_stepss'\. Did you mean 'warmup_steps'"),
        ({"steps": 50, "precision": "half"}, "precision is auto, fp32 or bf16"),
    ],
)
def test_invalid_settings_are_rejected_and_the_run_is_not_changed(run, changes, message):
    before = file_contents(run)
    with pytest.raises(UsageError, match=message):
        resume(run.path, blobs(), quiet=True, **changes)
    assert file_contents(run) == before


@pytest.mark.parametrize(
    ("budget", "steps"), [({"steps": 21}, 21), ({"epochs": 7}, 21), ({"minutes": 0.02}, None)]
)
def test_a_larger_budget_continues_a_finished_run(run, budget, steps):
    seconds = run.config["trained"]["seconds"]
    if "minutes" in budget:
        budget = {"minutes": budget["minutes"] + seconds / 60}
    resumed = resume(run.path, blobs(), quiet=True, **budget)
    recorded = {name: resumed.config["training"][name] for name in ("minutes", "steps", "epochs")}
    assert {name: value for name, value in recorded.items() if value is not None} == budget
    assert resumed.config["finished"] is True
    assert resumed.config["trained"]["steps"] == (steps or pytest.approx(1e4, abs=1e4 - 21))
    if "minutes" in budget:
        # recorded to a tenth of a second
        assert 60 * budget["minutes"] - 0.1 < resumed.config["trained"]["seconds"] < seconds + 10


@pytest.mark.parametrize(("total", "local"), [(1, 1), (4, 4), (6, 3)])
def test_a_resume_takes_as_many_processes_as_a_launcher_started(run, monkeypatch, total, local):
    config = {**run.config, "training": {**run.config["training"], "devices": 2}}
    run.write("config.json", config)
    monkeypatch.setenv("WORLD_SIZE", str(total))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(local))
    settings = resolve_resume_settings(Run(run.path), {"steps": 40})
    assert (settings.devices, settings.nodes) == (local, total // local)
    given = resolve_resume_settings(Run(run.path), {"steps": 40, "devices": 7})
    assert given.devices == 7, "which is then compared with the launcher's"


def test_a_run_killed_before_its_first_checkpoint_starts_from_the_beginning(base_run, tmp_path):
    run = Run(tmp_path / "run")
    run.write("config.json", {**base_run.config, "finished": False})
    resumed = resume(run.path, blobs(), quiet=True)
    assert resumed.weights_path.read_bytes() == base_run.weights_path.read_bytes()
    assert resumed.config["finished"] is True


def test_a_run_without_its_checkpoint_is_not_trained_over(run):
    shutil.rmtree(run.path / "checkpoint")
    before = run.weights_path.read_bytes()
    with pytest.raises(PinxitError, match=r"no checkpoint in .* to continue from; train a new run"):
        resume(run.path, blobs(), steps=30, quiet=True)
    assert run.weights_path.read_bytes() == before


def test_a_checkpoint_that_does_not_fit_the_model_is_an_error(run):
    config = json.loads((run.path / "config.json").read_text())
    for change in ({"width": 17}, {"depth": 2}, {"depth": 3, "width": 8}):
        run.write("config.json", {**config, "model": {**config["model"], **change}})
        with pytest.raises(PinxitError, match=r"does not fit the model in config\.json"):
            resume(run.path, blobs(), steps=30, quiet=True)


def test_a_budget_that_start_up_would_eat_still_trains(tmp_path):
    """The budget counts from the first step, and there are at least 50."""
    run = train(TINY, blobs(), out=tmp_path / "run", minutes=1e-4 / 60, **SHORT)
    assert run.config["trained"]["steps"] == session.MIN_STEPS
    assert run.config["finished"] is True
    assert run.config["trained"]["startup_seconds"] >= 0
    rates = [row["learning_rate"] for row in run.metrics()]
    assert rates[-1] < 0.1 * max(rates), "the schedule ends with the budget"


def test_a_validation_loss_of_nan_is_not_the_best(tmp_path, monkeypatch):
    losses = iter([math.nan, 9.0, math.nan, 8.0])
    monkeypatch.setattr(session, "validate", lambda *_: {"loss": next(losses)})
    saved, save = [], session.Session.save_weights

    def record_step(self, model):
        saved.append(self.state.counters.step)
        save(self, model)

    monkeypatch.setattr(session.Session, "save_weights", record_step)
    run = train(TINY, blobs(), out=tmp_path / "run", steps=20, **SHORT)
    assert saved == [5, 10, 20]
    assert run.config["trained"]["best_validation_loss"] == 8.0
    assert [row["val_loss"] for row in run.metrics() if "val_loss" in row] == [9.0, 8.0]


def test_config_stays_valid_json_if_every_validation_loss_is_nan(tmp_path, monkeypatch):
    monkeypatch.setattr(session, "validate", lambda *_: {"loss": math.nan})
    run = train(TINY, blobs(), out=tmp_path / "run", steps=4, **SHORT)
    assert run.config["trained"]["best_validation_loss"] is None
    assert load_file(run.weights_path), "the first weights are saved in any case"
    resume(run.path, blobs(), steps=6, quiet=True)


def test_an_output_folder_that_cannot_be_read_is_an_error(tmp_path, monkeypatch):
    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(tmp_path), "exists", refuse)
    with pytest.raises(PinxitError, match=r"cannot write to .*: Permission denied"):
        check_output_dir(tmp_path / "run")


def count_builds(monkeypatch) -> list[int]:
    """A list that grows by one with each model that is built and has memory."""
    builds, build = [], vae.build

    def count(*args):
        model = build(*args)
        if not any(parameter.is_meta for parameter in model.parameters()):
            builds.append(1)
        return model

    monkeypatch.setattr(vae, "build", count)
    return builds


def test_a_model_is_built_once(tmp_path, monkeypatch):
    builds = count_builds(monkeypatch)
    run = train(TINY, blobs(), out=tmp_path / "run", steps=2, precision="auto", **SHORT)
    assert len(builds) == 1
    resume(run, blobs(), steps=4, quiet=True)
    assert len(builds) == 2


def test_timing_a_step_does_not_change_the_weights(tmp_path, monkeypatch):
    monkeypatch.setattr("pinxit.training.devices.measure_precision", time_and_choose_fp32)
    measured = train(TINY, blobs(), out=tmp_path / "a", steps=3, precision="auto", **SHORT)
    fixed = train(TINY, blobs(), out=tmp_path / "b", steps=3, precision="fp32", **SHORT)
    assert measured.weights_path.read_bytes() == fixed.weights_path.read_bytes()


def time_and_choose_fp32(device, time_step):
    assert time_step(True) > 0
    assert time_step(False) > 0
    return "fp32"


def test_a_resumed_run_loads_its_images_with_the_recorded_options(tmp_path):
    options = LoadOptions(limit=200, fit="pad", captions="labels")
    run = train(TINY, "digits", out=tmp_path / "run", load=options, steps=3, seed=5, **SHORT)
    record = run.config["data"]
    assert record["options"] == {**options.to_json(), "data_seed": 5}
    found = {"size": (8, 8), "color": "grey", "range": "uint8:0,255"}
    expected = {**options.to_json(), **found, "data_seed": 5}
    assert run.load_options.to_json() == expected
    resumed = resume(run, steps=5, quiet=True)
    assert resumed.config["trained"]["steps"] == 5
    assert resumed.config["data"] == record


def test_load_options_may_be_a_dict(tmp_path):
    run = train(TINY, "digits", out=tmp_path / "run", load={"limit": 100}, steps=2, **SHORT)
    assert run.load_options.limit == 100
    with pytest.raises(UsageError, match=r"no 'limits'\. Did you mean 'limit'"):
        train(TINY, "digits", out=tmp_path / "other", load={"limits": 100}, steps=2, **SHORT)
    assert not (tmp_path / "other").exists()


LOUD = {**SHORT, "quiet": False}


def test_a_resumed_session_says_where_it_continues(run, capsys):
    resume(run.path, blobs(), steps=30)
    annotations, first = capsys.readouterr().err.splitlines()[:2]
    assert annotations == "captions: 96 of 96 images, en 96, fr 96; labels: 4 classes"
    assert first == "continuing from step 20 of 30"
    seconds = Run(run.path).config["trained"]["seconds"]
    resume(run.path, blobs(), minutes=(seconds + 3) / 60)
    first = capsys.readouterr().err.splitlines()[1]
    assert re.fullmatch(r"continuing from step 30, after \d+ s of \d+ s", first)


def test_the_progress_line_of_a_resumed_session_has_the_last_validation_loss(
    run, capsys, monkeypatch
):
    monkeypatch.setattr(progress.Lines, "interval", 0)
    monkeypatch.setattr(session, "validate", lambda *_: {"loss": 1234.5})
    last = run.metrics()[-1]["val_loss"]
    resume(run.path, blobs(), steps=40)
    lines = [line for line in capsys.readouterr().err.splitlines() if "%" in line]
    assert len(lines) == 20
    assert all(f"  val {format_number(last)}  " in line for line in lines[:9])
    assert "  val 1,234  " in lines[9], "evaluated at step 30"


def test_ctrl_c_stops_with_one_text_that_says_how_to_continue(tmp_path, capsys, monkeypatch):
    path = tmp_path / "run"
    steps = session.Session.log_metrics

    def stop_at_step_7(self, step):
        steps(self, step)
        if step.step == 7:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(session.Session, "log_metrics", stop_at_step_7)
    with pytest.raises(KeyboardInterrupt) as interrupt:
        train(TINY, blobs(), out=path, steps=20, **LOUD)
    text = str(interrupt.value)
    assert re.fullmatch(rf"stopped at step [78]; continue with: pinxit train --resume {path}", text)
    assert "stopped" not in capsys.readouterr().err, "the command line prints it"
