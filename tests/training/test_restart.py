"""What the same command with `--resume-or-start` takes for another one."""

from __future__ import annotations

import pytest

from pinxit.data.load_options import LoadOptions
from pinxit.errors import UsageError
from pinxit.runs import Run
from pinxit.training.api import resume, train
from pinxit.training.restart import describe_request
from pinxit.training.settings import TrainingSettings
from tests.builders import blobs, save_npz
from tests.watch.training import VAE

SETTINGS = {"steps": 2, "quiet": True, "batch_size": 8, "tensorboard": False}


def test_other_data_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = save_npz(tmp_path / "first.npz", blobs())
    save_npz(tmp_path / "second.npz", blobs(seed=1))
    options = {**SETTINGS, "out": "run", "resume_or_start": True}
    run = train(VAE, "first.npz", **options)
    assert Run(run.path).config["requested"]["data"] == str(first)
    for same in ("first.npz", str(first), first, ["first.npz"]):
        assert train(VAE, same, **options).path == run.path
    with pytest.raises(UsageError, match=r"with another data: .*first\.npz, not .*second\.npz"):
        train(VAE, "second.npz", **options)


def test_a_run_without_a_record_of_its_data_goes_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_npz(tmp_path / "first.npz", blobs())
    options = {**SETTINGS, "out": "run", "resume_or_start": True}
    run = Run(train(VAE, "first.npz", **options).path)
    requested = {name: v for name, v in run.config["requested"].items() if name != "data"}
    run.write("config.json", {**run.config, "requested": requested})
    assert train(VAE, "first.npz", **options).path == run.path


@pytest.mark.parametrize(
    "change",
    [{"batch_size": 7}, {"augment": ("move",)}, {"learning_rate": 0.5}, {"seed": 3},
     {"precision": "bf16"}, {"optimizer": "adamw"}],
)  # fmt: skip
def test_a_restart_with_settings_that_no_session_changes_is_refused(tmp_path, change):
    options = {**SETTINGS, "out": tmp_path / "run", "resume_or_start": True}
    run = train(VAE, blobs(), **options)
    before = (run.path / "config.json").read_bytes()
    with pytest.raises(UsageError, match=f"was started with another {next(iter(change))}"):
        train(VAE, blobs(), **{**options, **change})
    assert (run.path / "config.json").read_bytes() == before
    longer = train(VAE, blobs(), **{**options, "steps": 6, "num_evals": 2})
    assert longer.config["trained"]["steps"] == 6


def test_images_and_several_files_have_no_name(tmp_path):
    described = (
        describe_request(VAE, data, TrainingSettings(), LoadOptions())["data"]
        for data in (blobs(), ["a.png", "b.png"], "digits", ["digits"])
    )
    assert list(described) == [None, None, "digits", "digits"]


@pytest.mark.parametrize(
    ("change", "message"),
    [({"accumulate": 1000}, "cannot be divided"), ({"device": "cuda"}, "finds no such device")],
)
def test_a_resume_that_is_refused_changes_nothing(tmp_path, monkeypatch, change, message):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    run = Run(train(VAE, blobs(), out=tmp_path / "run", **SETTINGS).path)
    before = (run.path / "config.json").read_bytes()
    with pytest.raises(UsageError, match=message):
        resume(run, blobs(), steps=4, quiet=True, **change)
    assert (run.path / "config.json").read_bytes() == before
