"""Resuming is exact: a run killed at any moment ends with the weights of one that was not.

The runs are real processes, forked from one that has imported everything already, so that starting
one takes milliseconds.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from tests.forked import FORKS, run_pinxit

pytestmark = pytest.mark.slow

STEPS = 300
TRAIN = ["train", "vae", "digits", "--steps", str(STEPS), "--width", "32", "--latent-dim", "4"]
TRAIN += ["--depth", "1", "--batch-size", "32", "--num-evals", "8", "--checkpoint-seconds", "0"]
TRAIN += ["--no-report", "--precision", "fp32"]  # auto is measured, and varies under load

FORKS.set_forkserver_preload(
    [
        *("torch", "torch._dynamo", "lightning_fabric"),
        *("pinxit.cli.train", "pinxit.training.session", "pinxit.models.vae.model"),
    ]
)


def run_pinxit_killed_at(args: list[str], log: str, number: int) -> None:
    """`pinxit ...`, killed after the bytes of file `number` are on disk, before its rename."""
    fsync, count = os.fsync, [0]

    def count_and_kill(file: int) -> None:
        fsync(file)
        count[0] += 1
        if count[0] == number:
            os.kill(os.getpid(), signal.SIGKILL)

    os.fsync = count_and_kill
    run_pinxit(args, log)


def start(args: list[str], log: Path) -> BaseProcess:
    process = FORKS.Process(target=run_pinxit, args=(args, str(log)))
    process.start()
    return process


def run_to_end(args: list[str], log: Path, code: int = 0) -> str:
    """Run `pinxit ...`; returns its output."""
    process = start(args, log)
    process.join(240)
    assert process.exitcode == code, log.read_text()
    return log.read_text()


def wait_for(condition, process: BaseProcess, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.0005)


def mtime_ns(file: Path) -> int:
    """When a file was last modified, or 0 at a moment when it is missing or being replaced."""
    try:
        return file.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def resume_args(run: Path) -> list[str]:
    return ["train", "--resume", str(run), "--no-report"]


def weights_hash(run: Path) -> str:
    return hashlib.sha256((run / "model.safetensors").read_bytes()).hexdigest()


def metrics_without_time(run: Path) -> list[str]:
    """The rows of metrics.csv without the seconds."""
    lines = [line.split(",") for line in (run / "metrics.csv").read_text().splitlines()]
    seconds = lines[0].index("seconds")
    return [",".join(cells[:seconds] + cells[seconds + 1 :]) for cells in lines]


def is_equal(run: Path, other: Path) -> bool:
    """Whether weights, metrics, samples and snapshots of the posterior are equal."""
    names = {"model.safetensors"}
    for folder in ("samples", "latents"):
        names |= {f"{folder}/{file.name}" for file in (run / folder).iterdir()}
    equal = [(run / name).read_bytes() == (other / name).read_bytes() for name in names]
    return all(equal) and metrics_without_time(run) == metrics_without_time(other)


@pytest.fixture(scope="module")
def reference_run(tmp_path_factory) -> Path:
    """A run by the real command, in a process of its own."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    process = subprocess.run(
        [sys.executable, "-m", "pinxit.cli", *TRAIN, "--out", str(run)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout.splitlines() == [str(run / f"samples/step-{STEPS:07d}.png"), str(run)]
    pattern = rf"{STEPS} steps in .*best validation loss .* nats per image"
    assert re.search(pattern, process.stderr)
    return run


@pytest.mark.parametrize(
    "seed", [0, pytest.param(1, marks=pytest.mark.long), pytest.param(2, marks=pytest.mark.long)]
)
def test_a_run_killed_at_random_moments_ends_with_the_same_weights(reference_run, tmp_path, seed):
    """With a checkpoint after every step, most moments are in the middle of writing one."""
    run, rng, log = tmp_path / "killed", random.Random(seed), tmp_path / "log"
    args, kills = [*TRAIN, "--out", str(run)], 0
    checkpoint = run / "checkpoint" / "state.safetensors"
    for _ in range(5):
        before = mtime_ns(checkpoint)
        process = start(args, log)
        wait_for(lambda before=before: mtime_ns(checkpoint) > before, process)
        time.sleep(rng.uniform(0, 0.3))
        if process.is_alive():
            process.kill()
            kills += 1
        process.join()
        args = resume_args(run)
    assert kills >= 2, "the run ended before it could be killed"
    if '"finished": false' in (run / "config.json").read_text():
        run_to_end(args, log)
    assert is_equal(run, reference_run)
    assert not list(run.rglob(".*.part")), "partial files of killed processes are removed"


def test_a_run_killed_during_each_kind_of_write_ends_with_the_same_weights(reference_run, tmp_path):
    """The 2nd file is of the folder while it is made: the same command then starts again."""
    run, log = tmp_path / "killed", tmp_path / "log"
    args = [*TRAIN, "--resume-or-start", "--out", str(run)]
    for number in (2, 10, 35, 61, 93):
        process = FORKS.Process(target=run_pinxit_killed_at, args=(args, str(log), number))
        process.start()
        process.join(120)
        assert process.exitcode == -signal.SIGKILL, log.read_text()
    run_to_end(args, log)
    assert is_equal(run, reference_run)


@pytest.mark.parametrize(
    "signal_number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.long)]
)
def test_a_signal_stops_cleanly_and_prints_how_to_resume(reference_run, tmp_path, signal_number):
    run, log = tmp_path / "stopped", tmp_path / "log"
    process = start([*TRAIN, "--out", str(run)], log)
    wait_for((run / "samples" / "step-0000038.png").is_file, process)
    os.kill(process.pid or 0, signal_number)
    process.join(120)
    assert process.exitcode == 130
    assert f"continue with: pinxit train --resume {run}" in log.read_text()
    assert "Traceback" not in log.read_text()
    assert '"finished": false' in (run / "config.json").read_text()
    assert (run / "model.safetensors").is_file()
    run_to_end(resume_args(run), log)
    assert is_equal(run, reference_run)


def test_a_damaged_checkpoint_is_reported_and_the_previous_one_used(reference_run, tmp_path):
    run, log = tmp_path / "damaged", tmp_path / "log"
    process = start([*TRAIN, "--out", str(run)], log)
    wait_for((run / "checkpoint" / "state.previous.safetensors").is_file, process)
    os.kill(process.pid or 0, signal.SIGINT)
    process.join(120)
    checkpoint = run / "checkpoint" / "state.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    output = run_to_end(resume_args(run), log)
    assert "is damaged" in output
    assert "continuing from the previous one" in output
    assert is_equal(run, reference_run)


def test_two_damaged_checkpoints_are_an_error(reference_run, tmp_path):
    run = tmp_path / "damaged"
    shutil.copytree(reference_run, run)
    for file in (run / "checkpoint").iterdir():
        file.write_bytes(b"not a checkpoint")
    args = [*resume_args(run), "--steps", str(STEPS + 5)]
    output = run_to_end(args, tmp_path / "log", code=1)
    assert "is damaged" in output
    assert "train a new run" in output
    shutil.rmtree(run / "checkpoint")
    assert "no checkpoint in" in run_to_end(args, tmp_path / "log2", code=1)
    assert weights_hash(run) == weights_hash(reference_run), "its weights are not changed"


def test_a_finished_run_needs_a_larger_budget(reference_run, tmp_path):
    run = tmp_path / "further"
    shutil.copytree(reference_run, run)
    output = run_to_end(["train", "--resume", str(run)], tmp_path / "log", code=2)
    assert "is finished" in output
    run_to_end([*resume_args(run), "--steps", str(STEPS + 20)], tmp_path / "log2")
    assert weights_hash(run) != weights_hash(reference_run)


def test_a_run_is_not_replaced_without_overwrite(reference_run, tmp_path):
    output = run_to_end([*TRAIN, "--out", str(reference_run)], tmp_path / "log", code=2)
    assert "already holds a run" in output
    assert "--overwrite" in output
