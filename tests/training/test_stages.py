"""A component and the model that contains it, trained by one command in one run folder."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

import pinxit
from pinxit.console import format_duration
from pinxit.data.images import Images
from pinxit.errors import UsageError
from pinxit.models import family_of
from pinxit.runs import Run
from pinxit.training import running, session
from pinxit.training.api import resume, train
from pinxit.training.prepare import choose_config
from pinxit.training.settings import TrainingSettings
from pinxit.training.stages import divide_budget
from pinxit.training.verdict import assess
from tests.builders import blobs

pytestmark = pytest.mark.slow

FLOW = pinxit.Flow(width=16, depth=1, heads=1, condition="none")
STEPS = 20
SHORT = {"steps": STEPS, "num_evals": 2, "checkpoint_seconds": 0, "quiet": True}


def images() -> Images:
    return blobs(60, 18, 18, channels=3)


def weights(run: Run) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in load_file(run.weights_path).items()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Run:
    return train(FLOW, images(), out=tmp_path_factory.mktemp("runs") / "whole", **SHORT)


@given(st.integers(2, 10_000), st.floats(0.05, 0.95))
def test_the_parts_of_a_budget_add_up(steps, share):
    first, second = divide_budget(TrainingSettings(steps=steps), share)
    assert first.steps
    assert second.steps
    assert first.steps + second.steps == steps
    assert abs(first.steps - share * steps) <= 1
    for name in ("minutes", "epochs"):
        parts = divide_budget(TrainingSettings(**{name: steps}), share)
        assert sum(getattr(part, name) for part in parts) == pytest.approx(steps)


def test_one_command_trains_both(whole):
    component = Run(whole.path / "vae")
    assert component.family == "vae"
    assert component.config["finished"] is True
    assert component.config["trained"]["steps"] + whole.config["trained"]["steps"] == STEPS
    assert whole.config["component"]["pending"] is False
    assert whole.config["model"]["vae"] == str(component.path)
    assert pinxit.load(component.path).latent_shape == pinxit.load(whole.path).codec.shape
    turned = {"flip", "turn", "channels"}  # images whose captions say left and right
    assert turned <= set(component.config["training"]["augment"])
    assert not turned & set(whole.config["training"]["augment"])
    assert pinxit.load(whole.path).sample(2).pixels.shape == (2, 18, 18, 3)


def test_the_model_works_without_the_components_run(whole, tmp_path):
    copy = Run(shutil.copytree(whole.path, tmp_path / "copy"))
    shutil.rmtree(copy.path / "vae")
    expected = pinxit.load(whole.path).sample(2)
    assert np.array_equal(pinxit.load(copy.path).sample(2).pixels, expected.pixels)


@pytest.mark.parametrize(
    "stage",
    [
        pytest.param("before the first", marks=pytest.mark.long),
        "in the first",
        pytest.param("between", marks=pytest.mark.long),
        "in the second",
    ],
)
def test_a_run_stopped_in_either_stage_ends_with_the_same_weights(
    whole, tmp_path, monkeypatch, stage
):
    class Killed(Exception):
        pass

    def kill(*args, **kwargs):
        raise Killed

    path = tmp_path / "run"
    with monkeypatch.context() as patch:
        if stage == "before the first":
            patch.setattr(running, "run_session", kill)
        elif stage == "between":
            patch.setattr(running, "train_second", kill)
        else:
            family = "vae" if stage == "in the first" else "flow"
            save = session.Session.save_checkpoint

            def kill_after_4_steps(self):
                save(self)
                if self.run_folder.family == family and self.state.counters.step == 4:
                    raise Killed

            patch.setattr(session.Session, "save_checkpoint", kill_after_4_steps)
        with pytest.raises(Killed):
            train(FLOW, images(), out=path, **SHORT)
    assert Run(path).config["finished"] is False
    run = resume(path, images(), quiet=True)
    assert run.config["finished"] is True
    expected = weights(whole)
    assert all(np.array_equal(value, expected[name]) for name, value in weights(run).items())


def test_ctrl_c_in_the_first_stage_names_the_run_to_resume(tmp_path, monkeypatch):
    monkeypatch.setattr(session.Session, "evaluate", lambda self: self._request_stop())
    path = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt, match=rf"--resume {path}$"):
        train(FLOW, images(), out=path, **SHORT)
    assert Run(path / "vae").owner.path == path
    assert Run(path).owner.path == path


def test_a_larger_budget_of_a_finished_run_is_that_of_both(whole, tmp_path):
    copy = Run(shutil.copytree(whole.path, tmp_path / "copy"))
    run = resume(copy.path, images(), steps=STEPS + 5, quiet=True)
    first = Run(run.path / "vae").config["trained"]["steps"]
    assert run.config["trained"]["steps"] == STEPS + 5 - first


def test_a_dry_run_shows_both_stages(tmp_path):
    estimate = train(FLOW, images(), out=tmp_path / "run", dry_run=True, minutes=10, quiet=True)
    assert estimate.first_stage is not None
    assert estimate.first_stage.seconds + estimate.seconds == pytest.approx(600)
    first = dict(estimate.rows())["trained first"]
    assert first.startswith(f"vae, {format_duration(estimate.first_stage.seconds)}: ")
    assert not list(tmp_path.iterdir())


def test_options_are_checked_before_the_first_stage(tmp_path):
    config = pinxit.Flow(width=18, condition="none")
    with pytest.raises(UsageError, match="width 18 must be a multiple"):
        train(config, images(), out=tmp_path / "run", **SHORT)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("data", "family", "reason"),
    [
        (blobs(), "flow", "the images have captions"),
        (Images(blobs(channels=3, height=32, width=32).pixels), "flow", "images of 32 x 32"),
        (Images(blobs().pixels), "vae", "small images of 8 x 8 without captions"),
    ],
)
def test_the_family_is_chosen_from_the_images(data, family, reason, capsys):
    assert family_of(choose_config("auto", data)) == family
    assert capsys.readouterr().err == f"family {family}: {reason}\n"


def test_drawings_of_large_images_get_a_tokenizer(tmp_path):
    config = pinxit.Seq2Seq(width=16, depth=1, decoder_depth=1)
    run = train(config, blobs(40, 32, 32, channels=3), out=tmp_path / "run", **SHORT)
    assert Run(run.path / "tokenizer").config["finished"] is True
    shutil.rmtree(run.path / "tokenizer")
    assert len(pinxit.load(run.path).draw(["a blob at the top left"])) == 1


def test_no_verdict_on_a_component_sends_to_a_training_that_cannot_reach_it(whole):
    """Once it is trained, what contains it holds its weights: a resume trains that alone."""
    component = Run(whole.path / "vae")
    assert component.is_component
    assert not whole.is_component
    verdict = assess(component)
    assert verdict.state == "undertrained"
    assert "anew" in verdict.remedy
    assert verdict.command == ""
    assert assess(whole).command == f"pinxit train --resume {whole.shell_path} --minutes N"


def test_the_first_line_names_options_that_the_first_stage_does_not_have(capsys, tmp_path):
    options = {"batch_size": 8, "optimizer": "adamw"}
    train(FLOW, images(), out=tmp_path / "run", **{**SHORT, "steps": 2, "quiet": False}, **options)
    text = " ".join(capsys.readouterr().err.split())
    assert "with --batch-size and --optimizer: stage 1 chooses its own" in text
    component = Run(tmp_path / "run" / "vae").config["training"]
    assert component["optimizer"] == "auto"
