"""A run folder is made whole and has one owner; the same command goes on after any kill."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys

import pytest

import pinxit
from pinxit import runs
from pinxit.errors import PinxitError, UsageError
from pinxit.runs import Run
from pinxit.training import run_folder, run_lock
from pinxit.training.api import resume, train
from pinxit.training.run_lock import LOCK_FILE, OWNER_FILE, SOFT_LOCK_FILE, lock_run
from tests.builders import blobs

TINY = pinxit.VAE(latent_dim=2, width=16, depth=1, likelihood="bernoulli")
SHORT = {"batch_size": 16, "num_evals": 1, "tensorboard": False, "quiet": True}


class Killed(BaseException):
    """Ends a process in a test."""


def train_again(out, **options) -> Run:
    return train(TINY, blobs(), out=out, resume_or_start=True, **{"steps": 4, **SHORT, **options})


@pytest.fixture
def no_flock(monkeypatch):
    """A file system without locks."""

    class NoLock(run_lock.FileLock):
        def acquire(self, *_, **__):
            raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(run_lock, "FileLock", NoLock)


def test_the_same_call_starts_goes_on_and_then_returns_the_run(tmp_path, monkeypatch):
    out = tmp_path / "run"

    def kill(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("pinxit.training.session.Session.evaluate", kill)
        with pytest.raises(Killed):
            train_again(out)
    assert not Run(out).config["finished"]
    run = train_again(out)
    assert run.config["finished"]
    before = {file: file.stat().st_mtime_ns for file in run.path.rglob("*")}
    assert train_again(out).path == run.path
    assert {file: file.stat().st_mtime_ns for file in run.path.rglob("*")} == before
    assert train_again(out, steps=6).config["trained"]["steps"] == 6


def test_another_command_is_not_taken_for_the_same_one(tmp_path):
    out = tmp_path / "run"
    train_again(out)
    with pytest.raises(UsageError, match="another latent_dim: 2, not 3"):
        train(
            pinxit.VAE(latent_dim=3, width=16, depth=1, likelihood="bernoulli"),
            blobs(), out=out, resume_or_start=True, steps=4, **SHORT,
        )  # fmt: skip
    with pytest.raises(UsageError, match="another family: vae, not igpt"):
        train("igpt", blobs(), out=out, resume_or_start=True, steps=4, **SHORT)
    with pytest.raises(UsageError, match="not both"):
        train_again(out, overwrite=True)
    with pytest.raises(UsageError, match="needs out"):
        train_again(None)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").touch()
    with pytest.raises(UsageError, match="is not a run folder"):
        train_again(tmp_path / "other")


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("exists", [False, True])
def test_a_kill_while_a_folder_is_made_leaves_none_or_a_run(tmp_path, monkeypatch, number, exists):
    """A killed process runs no clean-up: neither does this one."""
    out, written = tmp_path / "run", []
    if exists:
        out.mkdir()

    def kill(path, *_):
        written.append(path)
        if len(written) == number:
            path.parent.mkdir(exist_ok=True)
            (path.parent / f".{path.name}.1.part").touch()
            raise Killed
        return write(path, *_)

    write = runs.write_atomically
    with monkeypatch.context() as patch:
        patch.setattr(runs, "write_atomically", kill)
        patch.setattr(run_folder.shutil, "rmtree", lambda *_, **__: None)
        with pytest.raises(Killed):
            train_again(out)
    assert not out.exists() or not run_folder.is_run_folder(out) or number == 2
    assert train_again(out).config["finished"]
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert not list(out.rglob(".*.part"))


def test_a_run_has_one_owner_whose_process_is_named(tmp_path):
    run = train_again(tmp_path / "run")
    code = (
        "import sys, time; from pathlib import Path; from pinxit.runs import Run\n"
        "from pinxit.training.run_lock import lock_run\n"
        "with lock_run(Run(Path(sys.argv[1]))): print('held', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(run.path)], stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    with pytest.raises(PinxitError, match=f"run is being trained by process {other.pid}; wait"):
        resume(run, blobs(), steps=9, quiet=True)
    assert Run(run.path).load().sample(1), "it can still be used"
    other.kill()
    other.wait()
    assert resume(run, blobs(), steps=9, quiet=True).config["trained"]["steps"] == 9


def test_without_flock_a_lock_file_is_taken_over_from_a_dead_process(tmp_path, no_flock):
    run = train_again(tmp_path / "run")
    with lock_run(run):
        assert (run.path / SOFT_LOCK_FILE).is_file()
        with pytest.raises(PinxitError, match=f"trained by process {os.getpid()}"), lock_run(run):
            pass
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    owner = {"pid": dead.pid, "host": run_lock._hostname()}
    (run.path / OWNER_FILE).write_text(json.dumps(owner))
    (run.path / SOFT_LOCK_FILE).write_text(f"{dead.pid}\n{owner['host']}\n")
    with lock_run(run):
        pass
    (run.path / OWNER_FILE).write_text(json.dumps(owner | {"host": "another-machine"}))
    (run.path / SOFT_LOCK_FILE).write_text(f"{dead.pid}\nanother-machine\n")
    with (
        pytest.raises(PinxitError, match=f"process {dead.pid} on another-machine"),
        lock_run(run),
    ):
        pass


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": "x"}', '{"pid": -1, "host": "a"}'])
def test_a_damaged_owner_file_does_not_matter(tmp_path, content):
    run = train_again(tmp_path / "run")
    (run.path / OWNER_FILE).write_text(content)
    with lock_run(run):
        pass


def test_a_lock_that_is_no_file_is_an_error_in_words(tmp_path):
    run = train_again(tmp_path / "run")
    (run.path / LOCK_FILE).unlink(missing_ok=True)
    (run.path / LOCK_FILE).symlink_to("/dev/null/x")
    with pytest.raises(PinxitError, match="cannot write to"), lock_run(run):
        pass


@pytest.mark.parametrize("budget", [{"steps": 2}, {"epochs": 1}, {"minutes": 1e-6}])
def test_a_budget_that_is_spent_already_is_refused_for_an_unfinished_run(tmp_path, budget):
    run = train_again(tmp_path / "run")
    run.write("config.json", {**run.config, "finished": False, "trained": None})
    with pytest.raises(UsageError, match=r"has already trained 4 steps .* give a larger budget"):
        resume(Run(run.path), blobs(), quiet=True, **budget)
