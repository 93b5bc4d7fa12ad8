"""Resuming is exact: killed at any moment, a run ends with the weights of one that was not.

Real processes, forked from one that has imported everything already: a start costs milliseconds.
"""

from __future__ import annotations

import hashlib
import multiprocessing
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

STEPS = 300
TRAIN = ["train", "vae", "digits", "--steps", str(STEPS), "--width", "32", "--latent-dim", "4"]
TRAIN += ["--depth", "1", "--batch-size", "32", "--num-evals", "8", "--checkpoint-seconds", "0"]
TRAIN += ["--no-report"]

FORKS = multiprocessing.get_context("forkserver")
HEAVY = ["torch", "torch._dynamo", "lightning_fabric", "sklearn.datasets", "pinxit.cli.train"]
FORKS.set_forkserver_preload([*HEAVY, "pinxit.training.session", "pinxit.models.vae.model"])


def command(words: list[str], said: str) -> None:
    """`pinxit ...` in a forked process, what it says going to a file."""
    from pinxit.cli import main

    file = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)
    sys.argv = ["pinxit", *words]
    import torch

    torch.set_num_threads(1)
    code = main(words)
    sys.stdout.flush()
    os._exit(code)


def start(words: list[str], said: Path) -> BaseProcess:
    process = FORKS.Process(target=command, args=(words, str(said)))
    process.start()
    return process


def finish(words: list[str], said: Path, code: int = 0) -> str:
    process = start(words, said)
    process.join(240)
    assert process.exitcode == code, said.read_text()
    return said.read_text()


def go_on(run: Path) -> list[str]:
    return ["train", "--resume", str(run), "--no-report"]


def weights(run: Path) -> str:
    return hashlib.sha256((run / "model.safetensors").read_bytes()).hexdigest()


def rows(run: Path) -> list[str]:
    """metrics.csv without what the clock says."""
    lines = [line.split(",") for line in (run / "metrics.csv").read_text().splitlines()]
    seconds = lines[0].index("seconds")
    return [",".join(cells[:seconds] + cells[seconds + 1 :]) for cells in lines]


def same(run: Path, whole: Path) -> bool:
    """Equal weights, equal metrics, and equal state in the last checkpoint."""
    names = {"model.safetensors"} | {f"samples/{file.name}" for file in (run / "samples").iterdir()}
    equal = [(run / name).read_bytes() == (whole / name).read_bytes() for name in names]
    return all(equal) and rows(run) == rows(whole)


def wait_for(condition, process: BaseProcess, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.0005)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> Path:
    """By the real command, in a process of its own."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    done = subprocess.run(
        [sys.executable, "-m", "pinxit.cli", *TRAIN, "--out", str(run)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [str(run / f"samples/step-{STEPS:07d}.png"), str(run)]
    assert re.search(rf"{STEPS} steps in .*best validation .* nats per image", done.stderr)
    return run


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_random_moments_and_resumed_it_ends_the_same(uninterrupted, tmp_path, seed):
    """With a checkpoint after every step, most moments are in the middle of writing one."""
    run, chance, said = tmp_path / "killed", random.Random(seed), tmp_path / "said"
    words, kills = [*TRAIN, "--out", str(run)], 0
    state = run / "checkpoint" / "state.safetensors"
    for _ in range(5):
        process = start(words, said)
        before = state.stat().st_mtime_ns if state.is_file() else 0
        wait_for(lambda b=before: state.is_file() and state.stat().st_mtime_ns > b, process)
        time.sleep(chance.uniform(0, 0.3))
        if process.is_alive():
            process.kill()
            kills += 1
        process.join()
        words = go_on(run)
    assert kills >= 2, "the run ended before it could be killed: nothing was tested"
    if '"finished": false' in (run / "config.json").read_text():
        finish(words, said)
    assert same(run, uninterrupted)
    assert not list(run.rglob(".*.part")), "what the kills left half written is gone"


def test_killed_in_the_middle_of_each_kind_of_write(uninterrupted, tmp_path):
    """The process kills itself between a file's bytes and its rename: at the 2nd, 10th, 35th, ...

    The 2nd is the first checkpoint: the run then has none to go on from.
    """
    run, said = tmp_path / "killed", tmp_path / "said"
    words = [*TRAIN, "--out", str(run)]
    for number in (2, 10, 35, 61, 93):
        process = FORKS.Process(target=killed_at, args=(words, str(said), number))
        process.start()
        process.join(120)
        assert process.exitcode == -signal.SIGKILL, said.read_text()
        words = go_on(run)
    finish(words, said)
    assert same(run, uninterrupted)


def killed_at(words: list[str], said: str, number: int) -> None:
    """The command, until so many files have reached the disk but not yet their names."""
    fsync, count = os.fsync, [0]

    def counted(file: int) -> None:
        fsync(file)
        count[0] += 1
        if count[0] == number:
            os.kill(os.getpid(), signal.SIGKILL)

    os.fsync = counted
    command(words, said)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_cleanly_and_says_how_to_go_on(uninterrupted, tmp_path, sent):
    run, said = tmp_path / "stopped", tmp_path / "said"
    process = start([*TRAIN, "--out", str(run)], said)
    wait_for((run / "samples" / "step-0000038.png").is_file, process)
    os.kill(process.pid or 0, sent)
    process.join(120)
    assert process.exitcode == 130
    assert f"go on with: pinxit train --resume {run}" in said.read_text()
    assert "Traceback" not in said.read_text()
    assert '"finished": false' in (run / "config.json").read_text()
    assert (run / "model.safetensors").is_file()
    finish(go_on(run), said)
    assert same(run, uninterrupted)


def test_a_damaged_checkpoint_is_told_and_the_one_before_is_used(uninterrupted, tmp_path):
    run, said = tmp_path / "damaged", tmp_path / "said"
    process = start([*TRAIN, "--out", str(run)], said)
    wait_for((run / "checkpoint" / "state.before.safetensors").is_file, process)
    os.kill(process.pid or 0, signal.SIGINT)
    process.join(120)
    state = run / "checkpoint" / "state.safetensors"
    state.write_bytes(state.read_bytes()[:1000])
    told = finish(go_on(run), said)
    assert "is damaged" in told
    assert "going on from the one before" in told
    assert same(run, uninterrupted)


def test_two_damaged_checkpoints_are_an_error(uninterrupted, tmp_path):
    run = tmp_path / "ruined"
    shutil.copytree(uninterrupted, run)
    for file in (run / "checkpoint").iterdir():
        file.write_bytes(b"not a checkpoint")
    more = [*go_on(run), "--steps", str(STEPS + 5)]
    told = finish(more, tmp_path / "said", code=1)
    assert "is damaged" in told
    assert "train anew" in told
    shutil.rmtree(run / "checkpoint")
    assert "nothing to go on from" in finish(more, tmp_path / "said2", code=1)
    assert weights(run) == weights(uninterrupted), "its weights are left alone"


def test_a_finished_run_says_so_and_takes_a_larger_budget(uninterrupted, tmp_path):
    run = tmp_path / "further"
    shutil.copytree(uninterrupted, run)
    assert "is finished" in finish(["train", "--resume", str(run)], tmp_path / "said", code=2)
    finish([*go_on(run), "--steps", str(STEPS + 20)], tmp_path / "said2")
    assert weights(run) != weights(uninterrupted)


def test_a_run_is_never_overwritten(uninterrupted, tmp_path):
    told = finish([*TRAIN, "--out", str(uninterrupted)], tmp_path / "said", code=2)
    assert "never overwritten" in told
