"""Two processes share each batch, started by one command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pinxit.runs import Run

pytestmark = pytest.mark.slow

STEPS = 120
TRAIN = ["train", "vae", "digits", "--devices", "2", "--steps", str(STEPS), "--width", "32"]
TRAIN += ["--depth", "1", "--batch-size", "33", "--warmup-steps", "10", "--num-evals", "4"]
TRAIN += ["--no-report"]


def start(args: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "pinxit.cli", *args],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def run_command(args: list[str]) -> tuple[str, str]:
    process = start(args)
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    return out, err


def interrupt(args: list[str], run: Path) -> int:
    """Ctrl-C in a terminal, which reaches every process of the group; returns the exit code."""
    process = start(args)
    deadline = time.monotonic() + 120
    while not (run / "samples").is_dir() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert f"continue with: pinxit train --resume {run}" in err
    assert "Traceback" not in err
    return process.returncode


@pytest.mark.long
def test_two_processes_train_one_run_and_resume_it_exactly_after_ctrl_c(tmp_path):
    whole = tmp_path / "whole"
    out, err = run_command([*TRAIN, "--out", str(whole)])
    grid = str(whole / "samples" / f"step-{STEPS:07d}.png")
    assert out.splitlines() == [grid, str(whole)], "only one of the two prints"
    assert err.count("training images of 8 x 8") == 1
    assert "distributed" not in err, "messages of Lightning"
    run = Run(whole)
    assert run.config["training"]["batch_size"] == 33, "shares need not be equal"
    assert run.config["finished"] is True
    rows = run.metrics()
    assert rows[-1]["images_seen"] == 33 * STEPS
    assert rows[-1]["val_loss"] < rows[0]["loss"] - 5

    stopped = tmp_path / "stopped"
    assert interrupt([*TRAIN, "--out", str(stopped)], stopped) == 130
    assert Run(stopped).config["finished"] is False
    run_command(["train", "--resume", str(stopped), "--no-report"])
    assert (stopped / "model.safetensors").read_bytes() == run.weights_path.read_bytes()
