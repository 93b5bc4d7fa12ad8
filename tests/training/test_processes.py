"""Two processes share each batch, by the same command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from pinxit.runs import Run

STEPS = 120
TRAIN = ["train", "vae", "digits", "--devices", "2", "--steps", str(STEPS), "--width", "32"]
TRAIN += ["--depth", "1", "--batch-size", "33", "--warmup-steps", "10", "--num-evals", "4"]
TRAIN += ["--no-report"]


def start(words: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "pinxit.cli", *words],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(words: list[str]) -> str:
    process = start(words)
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    return out


def test_two_processes_train_one_run_and_a_ctrl_c_to_both_is_resumed_exactly(tmp_path):
    whole = tmp_path / "whole"
    out = finish([*TRAIN, "--out", str(whole)])
    grid = str(whole / "samples" / f"step-{STEPS:07d}.png")
    assert out.splitlines() == [grid, str(whole)], "one of the two tells and writes"
    run = Run(whole)
    assert run.config["training"]["batch_size"] == 32, "equal shares"
    assert run.config["finished"] is True
    rows = run.metrics()
    assert rows[-1]["images"] == 32 * STEPS
    assert rows[-1]["val_loss"] < rows[0]["loss"] - 5, "it learned"

    stopped = tmp_path / "stopped"
    assert interrupted([*TRAIN, "--out", str(stopped)], stopped) == 130
    assert Run(stopped).config["finished"] is False
    finish(["train", "--resume", str(stopped), "--no-report"])
    assert (stopped / "model.safetensors").read_bytes() == run.weights.read_bytes()


def interrupted(words: list[str], run: Path) -> int:
    """Ctrl-C in a terminal reaches every process of the group; returns the exit code."""
    process = start(words)
    deadline = time.monotonic() + 120
    while not (run / "samples").is_dir() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert f"go on with: pinxit train --resume {run}" in err
    assert "Traceback" not in err
    return process.returncode
