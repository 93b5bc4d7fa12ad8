"""Resuming is exact: killed at any moment, a run ends with the weights of one that was not."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

STEPS = 400
TRAIN = ["train", "vae", "digits", "--steps", str(STEPS), "--width", "64", "--latent-dim", "8"]
TRAIN += ["--batch-size", "64", "--evaluations", "8", "--checkpoint-seconds", "0", "--no-report"]


def start(words: list[str]) -> subprocess.Popen[str]:
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "pinxit.cli", *words],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(words: list[str], code: int = 0) -> str:
    process = start(words)
    out, err = process.communicate(timeout=240)
    assert process.returncode == code, err
    return out + err


def weights(run: Path) -> str:
    return hashlib.sha256((run / "model.safetensors").read_bytes()).hexdigest()


def rows(run: Path) -> list[str]:
    """metrics.csv without what the clock says."""
    lines = [line.split(",") for line in (run / "metrics.csv").read_text().splitlines()]
    seconds = lines[0].index("seconds")
    return [",".join(cells[:seconds] + cells[seconds + 1 :]) for cells in lines]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "whole"
    finish([*TRAIN, "--out", str(run)])
    return run


def wait_for(condition, process: subprocess.Popen[str], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)


def test_killed_at_random_moments_and_resumed_the_weights_are_the_same(uninterrupted, tmp_path):
    """With a checkpoint after every step, most moments are in the middle of writing one."""
    run, chance = tmp_path / "killed", random.Random(0)
    words, kills = [*TRAIN, "--out", str(run)], 0
    for _ in range(4):
        process = start(words)
        state = run / "checkpoint" / "state.safetensors"
        before = state.stat().st_mtime_ns if state.is_file() else 0
        wait_for(lambda s=state, b=before: s.is_file() and s.stat().st_mtime_ns > b, process)
        time.sleep(chance.uniform(0, 0.4))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.communicate()
        words = ["train", "--resume", str(run), "--no-report"]
    assert kills >= 2, "the run ended before it could be killed: nothing was tested"
    if '"finished": false' in (run / "config.json").read_text():
        finish(words)
    assert weights(run) == weights(uninterrupted)
    assert rows(run) == rows(uninterrupted)


def test_ctrl_c_stops_cleanly_and_says_how_to_go_on(uninterrupted, tmp_path):
    run = tmp_path / "stopped"
    process = start([*TRAIN, "--out", str(run)])
    wait_for((run / "checkpoint" / "state.safetensors").is_file, process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert f"pinxit train --resume {run}" in err
    assert "Traceback" not in err
    finish(["train", "--resume", str(run), "--no-report"])
    assert weights(run) == weights(uninterrupted)


def test_a_damaged_checkpoint_is_told_and_the_one_before_is_used(uninterrupted, tmp_path):
    run = tmp_path / "damaged"
    process = start([*TRAIN, "--out", str(run)])
    wait_for((run / "checkpoint" / "state.before.safetensors").is_file, process)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    state = run / "checkpoint" / "state.safetensors"
    state.write_bytes(state.read_bytes()[:1000])
    said = finish(["train", "--resume", str(run), "--no-report"])
    assert "is damaged" in said
    assert "going on from the one before" in said
    assert weights(run) == weights(uninterrupted)


def test_a_finished_run_says_so_and_takes_a_larger_budget(uninterrupted, tmp_path):
    import shutil

    run = tmp_path / "further"
    shutil.copytree(uninterrupted, run)
    said = finish(["train", "--resume", str(run)], code=2)
    assert "is finished" in said
    finish(["train", "--resume", str(run), "--steps", str(STEPS + 20), "--no-report"])
    assert weights(run) != weights(uninterrupted)


def test_the_same_command_gives_the_same_weights_and_never_overwrites(uninterrupted):
    said = finish([*TRAIN, "--out", str(uninterrupted)], code=2)
    assert "never overwritten" in said
