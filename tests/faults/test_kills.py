"""The quick part of `make soak kills`: a training and a cache that are killed and run again."""

from __future__ import annotations

import random

import pytest

from tests.faults import kills

DATA = "shapes:24"


@pytest.mark.parametrize("model", ["vae", pytest.param("igpt", marks=pytest.mark.long)])
def test_a_killed_command_that_is_run_again_ends_as_an_uninterrupted_one(model, tmp_path):
    whole = kills.training_trial(model, DATA, tmp_path / "whole")
    seconds = whole.run_to_end()
    seconds = min(seconds, kills.training_trial(model, DATA, tmp_path / "again").run_to_end())
    trial = kills.training_trial(model, DATA, tmp_path / "killed")
    expected = whole.result(whole.folder)
    assert kills.survive(trial, expected, seconds, 2, random.Random(model)) >= 0


@pytest.mark.long
@pytest.mark.parametrize("phase", ["map", "sample", "shard"])
def test_a_killed_output_goes_on_where_it_stopped(phase, tmp_path):
    kills.training_trial("vae", DATA, tmp_path / "vae").run_to_end()
    run = tmp_path / "vae" / "run"
    make_trial = {
        "map": lambda folder: kills.map_trial(run, DATA, folder),
        "sample": lambda folder: kills.sample_trial(run, folder),
        "shard": lambda folder: kills.shard_trial(DATA, folder),
    }[phase]
    whole = make_trial(tmp_path / "whole")
    seconds = whole.run_to_end()
    expected = whole.result(whole.folder)
    trial = make_trial(tmp_path / "killed")
    assert kills.survive(trial, expected, seconds, 4, random.Random(phase)) > 0
