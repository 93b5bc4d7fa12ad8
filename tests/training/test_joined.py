"""Processes that train together agree, are counted by any launcher, and notice a lost one."""

from __future__ import annotations

import dataclasses
import re

import pytest

from pinxit.console import is_first_process
from pinxit.errors import PinxitError, UsageError
from pinxit.runs import Run
from pinxit.training import processes
from pinxit.training.processes import (
    LostProcessError,
    Processes,
    adopt_slurm,
    explain_lost_process,
    join_processes,
)
from pinxit.training.settings import TrainingSettings
from tests.builders import blobs
from tests.training import groups

SLURM = {
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_STEP_NODELIST": "node[07-08]",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
    "SLURM_JOB_ID": "1234567",
    "SLURM_NTASKS": "8",
}


@pytest.fixture(autouse=True)
def _no_launcher(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK"):
        monkeypatch.setenv(name, "")  # so that it is removed again after a test has set it
        monkeypatch.delenv(name)
    for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def test_other_settings_are_said_before_training(tmp_path):
    out = tmp_path / "run"
    assert groups.run_group(groups.disagree, (blobs(), str(out)), tmp_path) == [2, 2]
    said = (tmp_path / "log-0.txt").read_text()
    assert re.search(
        r"process 2 of 2 \(.+\) has another setting batch_size than the first: 9, not 8\.\n"
        "Start all processes with the same command, code and data", said,
    )  # fmt: skip
    assert (tmp_path / "log-1.txt").read_text() == ""
    assert not out.exists()


def test_other_images_are_said_before_training(tmp_path):
    images = [blobs(), dataclasses.replace(blobs(), fingerprint="others")]
    args = (images, str(tmp_path / "run"))
    assert groups.run_group(groups.train_on_other_images, args, tmp_path) == [2, 2]
    said = (tmp_path / "log-0.txt").read_text()
    assert "has another set of images than the first: others, not blobs" in said


def test_the_main_process_measures_for_all(tmp_path):
    assert groups.run_group(groups.resolve_precisions, (str(tmp_path),), tmp_path) == [0, 0]
    assert [(tmp_path / name).read_text() for name in "01"] == ["bf16", "bf16"]


@pytest.mark.parametrize("lost", [0, pytest.param(1, marks=pytest.mark.long)])
def test_a_lost_process_is_said_at_once_and_the_run_goes_on(tmp_path, lost):
    out = tmp_path / "run"
    codes = groups.run_group(groups.lose_a_process, (blobs(), str(out), lost), tmp_path)
    # the one that is left ends by itself, and is not killed after waiting in vain
    assert codes == ([1, -9] if lost else [-9, 1])
    said = (tmp_path / f"log-{1 - lost}.txt").read_text().splitlines()
    assert said[-2:] == [
        f"pinxit: another process of this training has ended (this is {2 - lost} of 2).",
        f"Go on with: pinxit train --resume {out}",
    ]
    assert groups.run_group(groups.resume, (str(out), blobs(), {}), tmp_path) == [0, 0]
    assert Run(out).config["finished"] is True


def test_the_task_of_srun_is_read(monkeypatch):
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    assert not is_first_process()
    adopt_slurm()
    import os

    assert {name: os.environ[name] for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")} == {
        "RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1",
    }  # fmt: skip
    assert os.environ["LOCAL_WORLD_SIZE"] == "4"
    assert (os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"]) == ("node07", "19567")
    assert not is_first_process()


@pytest.mark.parametrize("outside", [{"SLURM_STEP_NUM_TASKS": "1"}, {"SLURM_NTASKS": "8"}])
def test_a_batch_script_of_slurm_is_one_process(monkeypatch, outside):
    for name, value in outside.items():
        monkeypatch.setenv(name, value)
    assert join_processes(TrainingSettings(device="cpu")) == Processes()
    assert is_first_process()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"devices": 3}, "--devices is 3, but the launcher started 2; leave --devices out"),
        ({"nodes": 4}, "--nodes is 4, but the launcher started 2; leave --nodes out"),
    ],
)
def test_other_numbers_than_the_launcher_started_are_refused(monkeypatch, settings, message):
    variables = groups.environment(0, 4, 1) | {"LOCAL_WORLD_SIZE": "2"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=message):
        join_processes(TrainingSettings(device="cpu", **settings))


@pytest.mark.parametrize("name", ["WORLD_SIZE", "RANK", "LOCAL_WORLD_SIZE"])
def test_a_broken_environment_is_an_error(monkeypatch, name):
    for key, value in (groups.environment(0, 2, 1) | {name: "two"}).items():
        monkeypatch.setenv(key, value)
    with pytest.raises(UsageError, match=r"the launcher's environment is broken .*two"):
        join_processes(TrainingSettings(device="cpu"))


def test_missing_processes_are_an_error(monkeypatch):
    monkeypatch.setattr(processes, "JOIN_MINUTES", 0.02)
    for name, value in groups.environment(0, 2, groups.free_port()).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(
        PinxitError, match=r"process 1 of 2 cannot reach the others at 127\.0\.0\.1"
    ):
        join_processes(TrainingSettings(device="cpu"))


@pytest.mark.parametrize("error", [RuntimeError("mat1 and mat2 have other shapes"), ValueError()])
def test_other_errors_stay_what_they_are(monkeypatch, error):
    monkeypatch.setattr(processes, "_joined", [Processes(0, 2, 0, 2)])
    with pytest.raises(type(error)), explain_lost_process(lambda: ""):
        raise error


def test_errors_of_a_single_process_are_never_of_another(monkeypatch):
    with pytest.raises(RuntimeError) as raised, explain_lost_process(lambda: ""):
        raise RuntimeError("[gloo] Connection closed by peer")
    assert not isinstance(raised.value, LostProcessError)


def test_a_batch_with_fewer_images_than_parts_is_refused(tmp_path):
    with pytest.raises(UsageError, match="a batch of 3 images cannot be divided into 4 parts"):
        groups.train(
            "vae", blobs(), str(tmp_path / "run"), {"batch_size": 3, "accumulate": 4, "steps": 1}
        )
    assert not (tmp_path / "run").exists()
