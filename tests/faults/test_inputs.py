"""The quick part of `make soak`: mutated files of images and data sets, damaged run folders."""

from __future__ import annotations

import random

import pytest

from tests.faults import hostile_runs, mutations
from tests.faults.hostile_runs import COMMANDS, choose_damage, mutate

NUM_MUTATIONS = 6
NUM_RUN_FOLDERS = 30
SEEDS = {**mutations.image_seeds(), **mutations.data_seeds()}


@pytest.mark.parametrize("kind", SEEDS)
def test_a_mutated_file_is_read_or_refused_in_words(kind, tmp_path):
    name, content = SEEDS[kind]
    assert mutations.read_damaged(name, content, tmp_path / "data") == ""
    rng = random.Random(kind)
    with mutations.native_stderr() as stderr:
        for _ in range(NUM_MUTATIONS):
            changed = mutate(content, rng)
            assert mutations.read_damaged(name, changed, tmp_path / "data") == "", changed
        assert stderr() == b"", "libraries print past pinxit"


def test_a_damaged_run_folder_is_used_or_refused_in_words(tmp_path, monkeypatch):
    monkeypatch.setenv("PINXIT_CACHE", str(tmp_path / "cache"))
    kinds = {"igpt": mutations.TINY_RUNS["igpt"]}
    run = mutations.make_runs(tmp_path, kinds)["igpt"]
    rng = random.Random(0)
    for number in range(NUM_RUN_FOLDERS):
        command = list(COMMANDS)[number % len(COMMANDS)]
        name, damage = choose_damage(rng)
        outcome = hostile_runs.try_damage(run, damage, command, tmp_path / "scratch")
        assert outcome.complaint == "", (command, name)
