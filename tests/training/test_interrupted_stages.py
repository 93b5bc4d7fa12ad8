"""Training in two stages that is stopped, misused or short of space: one line, and nothing lost."""

from __future__ import annotations

import dataclasses
import errno
import json
import math
import os
import shutil

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

import pinxit
from pinxit.cli import main
from pinxit.data.atomic_write import write_atomically
from pinxit.errors import PinxitError, UsageError
from pinxit.models.packed import pack_model
from pinxit.runs import Run
from pinxit.training import running, session
from pinxit.training.api import resume, train
from pinxit.training.run_folder import check_output_dir, update_config
from pinxit.training.run_lock import lock_run
from pinxit.training.settings import BUDGETS, TrainingSettings
from pinxit.training.stages import budget_of, stages_of, subtract_budget
from tests.builders import blobs, build_vae

pytestmark = pytest.mark.slow

FLOW = pinxit.Flow(width=16, depth=1, heads=1, condition="none")
VAE = pinxit.VAE(network="mlp", latent_dim=2, width=16, depth=1)
STEPS = 5
SHORT = {"steps": STEPS, "num_evals": 1, "precision": "fp32", "tensorboard": False, "quiet": True}
NO_SPACE = OSError(errno.ENOSPC, "No space left on device")


def images():
    return blobs(12, 17, 16, channels=3)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Run:
    return train(FLOW, images(), out=tmp_path_factory.mktemp("runs") / "whole", **SHORT)


def edit_config(run: Run, **changes) -> Run:
    file = run.path / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    return Run(run.path)


@pytest.fixture
def between(whole, tmp_path) -> Run:
    """A run that was killed after its first stage."""
    run = Run(shutil.copytree(whole.path, tmp_path / "run"))
    for name in ("checkpoint", "samples"):
        shutil.rmtree(run.path / name)
    for name in ("model.safetensors", "fitted.safetensors", "metrics.csv", "README.md"):
        (run.path / name).unlink()
    model = {**whole.config["model"], "vae": None, "codec_spec": None}
    training = {**whole.config["training"], "steps": STEPS, "augment": ["auto"]}
    component = {**whole.config["component"], "pending": True}
    return edit_config(run, model=model, training=training, component=component, finished=False)


@pytest.fixture
def pending(between) -> Run:
    """A run that was killed as the config.json of its component was written."""
    shutil.rmtree(between.path / "vae")
    (between.path / "vae").mkdir()
    (between.path / "vae" / ".config.json.123.part").write_text('{"for')
    return between


def same_weights(a: Run, b: Run) -> bool:
    first, second = load_file(a.weights_path), load_file(b.weights_path)
    return all(torch.equal(first[name], second[name]) for name in first | second)


def contents(run: Run) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in run.path.rglob("*") if file.is_file()}


# -- killed ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["pending", "between"])
def test_a_killed_run_ends_with_the_same_weights(whole, moment, request):
    run = resume(request.getfixturevalue(moment).path, images(), quiet=True)
    assert same_weights(run, whole)
    assert not list(run.path.rglob("*.part"))


@pytest.mark.parametrize("name", [".config.json.1.part", ".fitted.safetensors.9.part", None])
def test_a_folder_in_which_training_was_killed_at_its_start_is_free(tmp_path, name):
    (tmp_path / (name or "fitted.safetensors")).touch()
    check_output_dir(tmp_path)
    (tmp_path / "holiday.png").touch()
    with pytest.raises(UsageError, match="exists and is not a run folder"):
        check_output_dir(tmp_path)


def test_an_interrupt_between_the_stages_names_the_command_that_goes_on(between, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(running, "complete_run", interrupt)
    with pytest.raises(KeyboardInterrupt, match=rf"continue with: .* --resume {between.path}$"):
        resume(between.path, images(), quiet=True)
    assert between.owner.path == between.path
    assert Run(between.path / "vae").resume_command == between.resume_command


# -- a full disk -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moment", "file"),
    [
        ("pending", "config.json"),
        ("pending", "vae/config.json"),
        ("pending", "vae/checkpoint/state.safetensors"),
        ("between", "fitted.safetensors"),
        ("between", "checkpoint/state.safetensors"),
    ],
)
def test_a_full_disk_leaves_a_run_that_can_be_resumed(moment, file, request, monkeypatch):
    run = request.getfixturevalue(moment)

    def write(path, content):
        if path == run.path / file:
            raise NO_SPACE
        return write_atomically(path, content)

    for module in ("pinxit.runs", "pinxit.training.checkpoint"):
        monkeypatch.setattr(f"{module}.write_atomically", write)
    message = rf"No space left on device\.\nFree some space .* --resume {run.path}$"
    with pytest.raises(PinxitError, match=message):
        resume(run.path, images(), quiet=True)
    assert Run(run.path).config["finished"] is False
    monkeypatch.undo()
    assert Run(run.path).load_options is not None  # config.json is whole


def test_a_run_without_its_model_card_is_not_finished(tmp_path, monkeypatch):
    def fail(*args):
        raise NO_SPACE

    with monkeypatch.context() as patch:
        patch.setattr(session, "write_model_card", fail)
        with pytest.raises(PinxitError, match="--resume"):
            train(VAE, blobs(), out=tmp_path / "run", **SHORT)
    run = resume(tmp_path / "run", blobs(), quiet=True)
    assert run.config["finished"] is True
    assert (run.path / "README.md").is_file()


# -- two processes ---------------------------------------------------------------------------------


def test_a_run_in_which_a_process_trains_is_left_alone(between):
    before = contents(between)
    busy = rf"{between.path} is being trained by process {os.getpid()}"
    with lock_run(between):
        with pytest.raises(PinxitError, match=busy):
            resume(between.path, images(), quiet=True)
        with pytest.raises(PinxitError, match=busy):
            resume(between.path / "vae", images(), steps=99, quiet=True)
        with pytest.raises(PinxitError, match=busy):
            train(VAE, blobs(), out=between.path, overwrite=True, **SHORT)
    assert contents(between) == before
    with lock_run(between):
        pass  # free again


def test_a_pending_run_is_replaced_only_with_overwrite(pending):
    with pytest.raises(UsageError, match=rf"To continue that run: .* --resume {pending.path}$"):
        train(VAE, blobs(), out=pending.path, **SHORT)
    run = train(VAE, blobs(), out=pending.path, overwrite=True, **SHORT)
    assert run.family == "vae"
    assert not (run.path / "vae").exists()
    assert [path.name for path in run.path.parent.iterdir()] == ["run"]


# -- budgets and options ---------------------------------------------------------------------------


@given(st.integers(1, 1000), st.integers(1, 1000), st.sampled_from(BUDGETS))
def test_what_is_left_of_a_budget_and_what_is_spent_add_up(total, spent, name):
    nothing = dict.fromkeys(BUDGETS)
    left = subtract_budget(nothing | {name: total}, nothing | {name: spent})
    assert left[name] == max(1, total - spent)
    other = "steps" if name == "minutes" else "minutes"
    assert subtract_budget(nothing | {other: total}, nothing | {name: spent})[other] == total


def test_a_new_budget_of_a_pending_run_is_that_of_both(pending, between):
    settings = dataclasses.replace(stages_of(pending, _settings(pending)).second, steps=40)
    update_config(pending, settings, images(), images())
    stages = stages_of(Run(pending.path), settings)
    assert Run(pending.path).config["component"]["budget"] == budget_of(stages.first)


def test_a_component_that_is_trained_keeps_the_budget_that_it_had(between):
    trained = between.config["component"]["budget"]["steps"]
    settings = dataclasses.replace(_settings(between), steps=40)
    assert stages_of(between, settings).second.steps == 40 - trained
    update_config(between, settings, images(), images())
    assert Run(between.path).config["component"]["budget"]["steps"] == trained


def _settings(run):
    return TrainingSettings(steps=run.config["training"]["steps"])


@pytest.mark.parametrize(
    ("config", "settings", "message"),
    [
        (FLOW, {"steps": 1}, "steps must be at least 2, not 1: two models are trained"),
        (pinxit.Flow(vocab_size=3), {}, "vocab_size must be at least 256"),
        (pinxit.Flow(source="image+text"), {}, "trained on pairs of images"),
        (pinxit.Seq2Seq(vocab_size=3), {}, "vocab_size must be at least 256"),
        (pinxit.Seq2Seq(source="image+text"), {}, "editing is trained on pairs"),
    ],
)
def test_what_the_second_stage_refuses_is_refused_before_the_first(
    tmp_path, config, settings, message
):
    data = dataclasses.replace(blobs(8, 32, 32, channels=3), before=None)
    with pytest.raises(UsageError, match=message):
        train(config, data, out=tmp_path / "run", **{**SHORT, **settings})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("n", [1, 2])
def test_captions_longer_than_the_model_takes_are_cut_in_previews(tmp_path, n):
    config = pinxit.Flow(width=16, depth=1, heads=1, text_depth=1, max_text_tokens=n)
    run = train(config, blobs(8), out=tmp_path / "run", **{**SHORT, "steps": 1})
    assert (run.path / "samples" / "step-0000001.png").is_file()


def test_a_component_whose_weights_are_not_finite_is_refused():
    vae = build_vae()
    next(vae.parameters()).data.fill_(math.nan)
    with pytest.raises(PinxitError, match="the weights of the VAE runs/v are not finite"):
        pack_model("runs/v", vae, vae.info, "VAE")


# -- commands --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        *("sample RUN", "draw RUN cat", "evaluate RUN", "compare RUN RUN", "score RUN"),
        *("reconstruct RUN", "sample RUN/vae"),
    ],
)
def test_a_command_on_a_run_without_weights_says_how_to_train_it(pending, command, capsys):
    (pending.path / "vae" / "config.json").write_text((pending.path / "config.json").read_text())
    assert main(command.replace("RUN", str(pending.path)).split()) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].endswith(f"has no weights yet; train it: {pending.resume_command}")


def test_a_report_without_weights_says_how_to_train_the_run(pending, capsys):
    assert main(["report", str(pending.path)]) == 0
    assert f"train it: {pending.resume_command}" in capsys.readouterr().err
    assert "pinxit evaluate" not in (pending.path / "report.html").read_text()


def test_runs_lists_a_pending_run(pending, capsys):
    assert main(["runs", str(pending.path.parent)]) == 0
    assert "unfinished" in capsys.readouterr().out
